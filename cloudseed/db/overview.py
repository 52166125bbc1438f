"""A campaign in a few numbers and arrays, however many experiments it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from cloudseed.db.models import Decision, Experiment, Measurement, Withdrawal
from cloudseed.db.rows import Overview
from cloudseed.db.states import ExperimentState

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
    ids = np.sort(np.concatenate([numbers for numbers, _ in found]))
    # Not np.unique: it imports numpy.ma, which takes as long as a fifth of all this.
    ids = ids[np.diff(ids, prepend=-1) > 0]
    table = np.full((len(ids), len(properties)), np.nan)
    for place, (numbers, column) in enumerate(found):
        table[np.searchsorted(ids, numbers), place] = column
    return ids, table


def _column(
    session: Session, campaign_id: int, name: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Returns (experiment ids, values) of one property, oldest first, so that the newest counts.

    Rows are taken from the driver as they are: to wrap 100,000 of them would take most of the time.
    """
    import numpy as np

    # Those that do not count are few, and quicker to pass over than the others to pick.
    others = select(Experiment.id).where(
        or_(
            Experiment.campaign_id != campaign_id,
            Experiment.state == ExperimentState.RETRACTED,
        )
    )
    query = (
        select(Measurement.experiment_id, Measurement.value)
        .where(
            Measurement.property == name,
            Measurement.experiment_id.not_in(others),
            Measurement.id.not_in(select(Withdrawal.measurement_id)),
        )
        .order_by(Measurement.id)
    )
    with session.connection().execute(query) as result:
        rows = result.cursor.fetchall() if result.cursor is not None else []
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return table[:, 0].astype(np.int64), table[:, 1]
