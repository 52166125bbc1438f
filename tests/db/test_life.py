"""Any life of an experiment that chance can make up: only legal ones happen, each result once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cloudseed.db.ledger import SqlLedger, open_ledger
from cloudseed.db.rows import NewMeasurement
from cloudseed.db.states import ExperimentState
from cloudseed.errors import TransitionError

from .kit import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

S = ExperimentState
OUTCOMES = [S.MEASURED, S.INFEASIBLE, S.REFUSED, S.FAILED, S.PLANNED, S.RETRACTED, None]
EXPERIMENTS = st.integers(0, 2)
OPEN = {S.SENDING, S.RUNNING, S.IN_DOUBT}


class Life(RuleBasedStateMachine):
    """Three experiments, a lab that repeats and reorders, an engine that restarts.

    The model is what the protocol page says, told again in the simplest way.
    """

    ledger: SqlLedger
    count = 0

    def __init__(self) -> None:
        super().__init__()
        Life.count += 1
        self.campaign = self.ledger.create_campaign(f"campaign {Life.count}", {})
        self.stack = ExitStack()
        self.claim = self.stack.enter_context(self.ledger.claim(self.campaign.id))
        self.lab = Lab(self.ledger, self.claim)
        self.rows = self.lab.plan("a", "b", "c")
        self.state = [S.PLANNED] * 3
        self.attempts = [0] * 3
        self.values: list[list[float]] = [[], [], []]
        self.overtaken = [False] * 3
        self.sent: list[tuple[str, int, ExperimentState | None, float]] = []
        self.heard: list[tuple[int, int, ExperimentState | None, float]] = []
        self.names_heard: set[str] = set()
        self.contradicted: set[tuple[str, bytes]] = set()

    def teardown(self) -> None:
        assert self.ledger.verify() == []
        log = self.ledger.events(self.campaign.id)
        assert len([e for e in log if e.kind == "message_conflict"]) == len(self.contradicted)
        self.stack.close()

    @rule()
    def send(self) -> None:
        item = self.ledger.next_to_send(self.claim)
        planned = [i for i in range(3) if self.state[i] is S.PLANNED]
        if not planned:
            assert item is None
            return
        assert item is not None
        assert item.experiment.id == self.rows[planned[0]].id
        self.state[planned[0]] = S.SENDING
        self.attempts[planned[0]] += 1
        assert item.experiment.attempt == self.attempts[planned[0]]

    @rule()
    def acknowledge(self) -> None:
        for item in self.ledger.unacknowledged(self.claim):
            self.ledger.acknowledge(self.claim, item, f"job {item.attempt_id}")
        self.state = [S.RUNNING if s is S.SENDING else s for s in self.state]

    @rule(i=EXPERIMENTS, to=st.sampled_from(list(S)))
    def change(self, i: int, to: ExperimentState) -> None:
        if to in self.state[i].successors and to is not S.SENDING:
            self.ledger.transition(self.claim, self.rows[i].id, to)
            self.state[i] = to
        else:
            with pytest.raises(TransitionError):
                self.ledger.transition(self.claim, self.rows[i].id, to)

    @rule(i=EXPERIMENTS, outcome=st.sampled_from(OUTCOMES), value=st.floats(0, 9))
    def answer(self, i: int, outcome: ExperimentState | None, value: float) -> None:
        """The lab says something; the message may be delivered at any later time."""
        self.sent.append((f"message {len(self.sent)}", i, outcome, value))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Any message comes, perhaps again."""
        name, i, outcome, value = data.draw(st.sampled_from(self.sent))
        known = {m[0] for m in self.ledger.unprocessed(self.campaign.id)}
        key = self.rows[i].idem_key
        if self.ledger.receive(self.claim, "lab", name, key, name.encode()):
            (new,) = {m[0] for m in self.ledger.unprocessed(self.campaign.id)} - known
            self.heard.append((new, i, outcome, value))
            self.names_heard.add(name)

    @precondition(lambda self: self.heard)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """Any message that came is turned into an outcome, perhaps again."""
        message = data.draw(st.sampled_from(self.heard))
        inbox_id, i, outcome, value = message
        new = inbox_id in {m[0] for m in self.ledger.unprocessed(self.campaign.id)}
        measured = [NewMeasurement("volume", value, "angstrom^3/atom")]
        self.ledger.settle(
            self.claim,
            inbox_id,
            outcome,
            measurements=measured if outcome is S.MEASURED else (),
        )
        if new:
            self._expect(i, outcome, value)

    def _expect(self, i: int, outcome: ExperimentState | None, value: float) -> None:
        before = self.state[i]
        if outcome is S.RETRACTED and not before.terminal:
            self.overtaken[i] = True
        elif outcome is not None and outcome in before.successors:
            self.state[i] = outcome
            if outcome is S.MEASURED:
                self.values[i].append(value)
            if self.overtaken[i] and S.RETRACTED in outcome.successors:
                self.state[i] = S.RETRACTED

    @precondition(lambda self: self.heard)
    @rule(data=st.data(), raw=st.binary(max_size=8))
    def contradict(self, data: st.DataObject, raw: bytes) -> None:
        """The id of a message that came, with other bytes: kept aside, and nothing changes."""
        name, i, _, _ = data.draw(st.sampled_from(self.sent))
        waiting = self.ledger.unprocessed(self.campaign.id)
        key = self.rows[i].idem_key
        if name in self.names_heard and raw != name.encode():
            assert not self.ledger.receive(self.claim, "lab", name, key, raw)
            self.contradicted.add((name, raw))
            assert self.ledger.unprocessed(self.campaign.id) == waiting

    @rule(n=st.integers(0, 3))
    def speak_of_strangers(self, n: int) -> None:
        """A result for an experiment that nobody asked for."""
        name = f"stranger {n}"
        if self.ledger.receive(self.claim, "lab", name, f"nobody-{n}", b"x"):
            found = [m for m in self.ledger.unprocessed(self.campaign.id) if m[1] == f"nobody-{n}"]
            self.ledger.settle(self.claim, found[0][0], S.MEASURED)

    @rule()
    def restart(self) -> None:
        """The engine ends and another takes over."""
        self.stack.close()
        self.claim = self.stack.enter_context(self.ledger.claim(self.campaign.id))
        self.lab.claim = self.claim

    @invariant()
    def the_ledger_is_as_expected(self) -> None:
        rows = self.ledger.experiments(self.campaign.id)
        assert [r.state for r in rows] == self.state
        assert [r.attempt for r in rows] == self.attempts
        standing = [
            (r.id, value)
            for r, values in zip(rows, self.values, strict=True)
            for value in values
            if r.state is not S.RETRACTED
        ]
        found = self.ledger.measurements(self.campaign.id)
        assert sorted((m.experiment_id, m.value) for m in found) == sorted(standing)
        assert all(len(values) <= 1 for values in self.values)


@pytest.fixture
def shared(url: str) -> Iterator[SqlLedger]:
    with open_ledger(url) as ledger:
        yield ledger


@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize(
    ("examples", "steps"), [(8, 20), pytest.param(500, 100, marks=pytest.mark.nightly)]
)
def test_every_life_is_a_legal_one(shared: SqlLedger, examples: int, steps: int) -> None:
    kind = type("Life", (Life,), {"ledger": shared})
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
