"""Measurements that were taken back or replaced, and the decisions that were made on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudseed.db import AmendmentRow, DecisionRow, ExperimentRow

__all__ = ["doubts"]


def doubts(
    decision: DecisionRow,
    amendments: Sequence[AmendmentRow],
    experiments: Sequence[ExperimentRow],
) -> Iterator[str]:
    """Yields what a decision was made on and does not stand any more, one sentence each.

    Args:
        decision: The decision.
        amendments: What was retracted or corrected.
        experiments: Every experiment; tells when what was never measured had ended.
    """
    if not amendments:
        return
    observed = set(decision.observed)
    ended = {e.id: e.finished_at for e in experiments}
    told: set[tuple[int, bool]] = set()
    for row in amendments:
        if row.measurement_id is not None:
            used = row.measurement_id in observed
        else:
            end = ended.get(row.experiment_id)
            used = end is not None and end < decision.created_at < row.at
        corrected = row.replaced_by is not None
        if not used or (row.experiment_id, corrected) in told:
            continue
        told.add((row.experiment_id, corrected))
        verb = "corrected" if corrected else "retracted"
        yield (
            f"The result of experiment {row.experiment_id} was {verb} on"
            f" {row.at:%Y-%m-%d %H:%M} UTC: {row.reason}"
        )
