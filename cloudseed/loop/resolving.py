"""What a person says of an experiment that is in doubt, after looking in the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudseed.db import ExperimentState, OutboxItem
from cloudseed.errors import UsageError

if TYPE_CHECKING:
    from cloudseed.db import Claim, Ledger

__all__ = ["resolve"]


def resolve(
    ledger: Ledger,
    claim: Claim,
    experiment_id: int,
    *,
    arrived: str | None = None,
    abandon: bool = False,
    reason: str,
) -> ExperimentState:
    """Ends a doubt; returns the state that follows.

    Args:
        ledger: The record.
        claim: The right to write to it.
        experiment_id: An experiment in doubt.
        arrived: The lab's handle, if the lab has the experiment; None if it surely has not.
        abandon: Whether it is given up instead: never sent again, and no result expected.
        reason: How the person knows.

    Raises:
        UsageError: If the experiment is not in doubt.
    """
    rows = ledger.experiments(claim.campaign_id, [ExperimentState.IN_DOUBT])
    found = next((e for e in rows if e.id == experiment_id), None)
    if found is None:
        raise UsageError(
            f"Experiment {experiment_id} is not in doubt.",
            hint="`cloudseed experiments list --state in_doubt` shows those that are.",
            experiment_id=experiment_id,
        )
    if arrived is not None:
        item: OutboxItem = ledger.attempt(experiment_id)
        ledger.acknowledge(claim, item, arrived)
        return ExperimentState.RUNNING
    state = ExperimentState.CANCELLED if abandon else ExperimentState.PLANNED
    ledger.transition(claim, experiment_id, state, reason, unsent=not abandon)
    return state
