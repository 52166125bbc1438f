"""A campaign in a few numbers and arrays, however many experiments it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from cloudseed.db.models import Decision, Experiment, Measurement, Withdrawal
from cloudseed.db.protocols import ExperimentState, Overview

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    from sqlalchemy.orm import Session

__all__ = ["read", "values"]


def read(session: Session, campaign_id: int) -> Overview:
    """Returns how many experiments and decisions there are, and when they began and ended."""
    mine = Experiment.campaign_id == campaign_id
    counted = select(Experiment.state, func.count()).where(mine).group_by(Experiment.state)
    first = select(Experiment.created_at).where(mine).order_by(Experiment.id).limit(1)
    last = select(func.max(Experiment.finished_at)).where(mine)
    newest = session.scalar(
        select(func.max(Decision.step)).where(Decision.campaign_id == campaign_id)
    )
    return Overview(
        states=dict(session.execute(counted).all()),
        decisions=0 if newest is None else newest + 1,
        began_at=session.scalar(first),
        ended_at=session.scalar(last),
    )


def values(
    session: Session, campaign_id: int, properties: Sequence[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Returns ids of experiments with values that stand, n in order, and the values, n x m."""
    import numpy as np

    found = [_column(session, campaign_id, name) for name in properties]
    ids = np.unique(np.concatenate([numbers for numbers, _ in found]))
    table = np.full((len(ids), len(properties)), np.nan)
    for place, (numbers, column) in enumerate(found):
        table[np.searchsorted(ids, numbers), place] = column
    return ids, table


def _column(
    session: Session, campaign_id: int, name: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Returns (experiment ids, values) of one property, oldest first, so that the newest counts."""
    import numpy as np

    query = (
        select(Measurement.id, Measurement.experiment_id, Measurement.value)
        .join(Experiment, Experiment.id == Measurement.experiment_id)
        .where(
            Experiment.campaign_id == campaign_id,
            Experiment.state != ExperimentState.RETRACTED,
            Measurement.property == name,
            Measurement.id.not_in(select(Withdrawal.measurement_id)),
        )
    )
    rows = session.execute(query).all()
    ids, numbers, column = zip(*rows, strict=True) if rows else ((), (), ())
    oldest_first = np.argsort(np.array(ids, dtype=np.int64), kind="stable")
    return (
        np.array(numbers, dtype=np.int64)[oldest_first],
        np.array(column, dtype=np.float64)[oldest_first],
    )
