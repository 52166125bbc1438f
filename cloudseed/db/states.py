"""The states of an experiment, with what may follow what, and what people wish of an engine.

The words that the tables hold. `rows` has the records that bear them.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ExperimentState", "Wish"]


class ExperimentState(StrEnum):
    """The life of an experiment.

        planned ──> sending ──> running ──> measured ──> retracted
           │           │  ╲        ├──────> infeasible
           │           │   ╲       ├──────> refused
           │           │    ╲      ├──────> failed
           │           │     ╲     └──────> planned     (another attempt)
           │           │      └──> in_doubt ──> running | planned | failed
           │           └─────────> planned              (the lab surely has it not)
           └─────────────────────> cancelled

    An outcome may also arrive while `sending` or `in_doubt`: that the lab answers proves that it
    has the experiment. It may even arrive while `planned` again, from an attempt that was given up:
    then nothing is left to send. Terminal: measured (but for retraction), infeasible (likewise),
    refused, failed, cancelled, retracted.
    """

    PLANNED = "planned"
    SENDING = "sending"
    RUNNING = "running"
    IN_DOUBT = "in_doubt"
    MEASURED = "measured"
    INFEASIBLE = "infeasible"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRACTED = "retracted"

    @property
    def terminal(self) -> bool:
        """Whether nothing more is expected to happen."""
        return self not in _OPEN

    @property
    def successors(self) -> frozenset[ExperimentState]:
        """The states that may come next."""
        return _NEXT[self]


class Wish(StrEnum):
    """What people wish of a campaign's engine.

    run     go on
    pause   plan and send nothing; collect what comes
    drain   plan and send nothing, and stop once the labs are done
    stop    stop after this step; what is in the labs goes on there
    """

    RUN = "run"
    PAUSE = "pause"
    DRAIN = "drain"
    STOP = "stop"


_S = ExperimentState
_OUTCOMES = frozenset({_S.MEASURED, _S.INFEASIBLE, _S.REFUSED, _S.FAILED})
_OPEN = frozenset({_S.PLANNED, _S.SENDING, _S.RUNNING, _S.IN_DOUBT})
_NEXT = {
    _S.PLANNED: frozenset({_S.SENDING, _S.CANCELLED}) | _OUTCOMES,
    _S.SENDING: frozenset({_S.RUNNING, _S.IN_DOUBT, _S.PLANNED}) | _OUTCOMES,
    _S.RUNNING: frozenset({_S.PLANNED, _S.CANCELLED}) | _OUTCOMES,
    _S.IN_DOUBT: frozenset({_S.RUNNING, _S.PLANNED, _S.CANCELLED}) | _OUTCOMES,
    _S.MEASURED: frozenset({_S.RETRACTED}),
    _S.INFEASIBLE: frozenset({_S.RETRACTED}),
    _S.REFUSED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.RETRACTED: frozenset(),
}
