"""What experiments cost: reserved with the intent to send, settled with the result.

A sending that ends without word of its cost is settled at what was reserved: a budget is never
thought larger than it is. Only a lab that surely has not got the request gives its share back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from cloudseed.db import events
from cloudseed.db.columns import now
from cloudseed.db.events import EventKind
from cloudseed.db.models import Charge
from cloudseed.db.rows import NewCharge, Spending
from cloudseed.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from cloudseed.db.models import Experiment

__all__ = ["release", "reserve", "settle", "spent"]


def reserve(session: Session, experiment: Experiment, new: Sequence[NewCharge]) -> None:
    """Reserves what the current attempt may cost."""
    at = now()
    for charge in new:
        if not 0 <= charge.amount < float("inf"):
            raise LedgerError(
                f"An experiment cannot cost {charge.amount} {charge.unit}.",
                hint="Costs are finite and not negative.",
                resource=charge.resource,
            )
        session.add(
            Charge(
                campaign_id=experiment.campaign_id,
                experiment_id=experiment.id,
                n=experiment.attempt,
                resource=charge.resource,
                unit=charge.unit,
                reserved=float(charge.amount),
                settled=None,
                reserved_at=at,
                settled_at=None,
            )
        )


def settle(session: Session, experiment: Experiment, actual: Mapping[str, float]) -> None:
    """Replaces what was reserved for the current attempt by what it did cost, as far as known."""
    at = now()
    for charge in _open(session, experiment):
        if charge.resource in actual:
            _close(session, experiment, charge, float(actual[charge.resource]), at)


def release(
    session: Session, experiment: Experiment, at: datetime, *, unused: bool = False
) -> None:
    """Settles what is still open at what was reserved, or at nothing if the lab never got it."""
    for charge in _open(session, experiment):
        _close(session, experiment, charge, 0.0 if unused else charge.reserved, at)


def spent(session: Session, campaign_id: int) -> dict[str, Spending]:
    """Returns what is settled and what is reserved, by resource."""
    query = (
        select(
            Charge.resource,
            func.max(Charge.unit),
            func.coalesce(func.sum(Charge.settled), 0.0),
            func.coalesce(func.sum(Charge.reserved).filter(Charge.settled.is_(None)), 0.0),
        )
        .where(Charge.campaign_id == campaign_id)
        .group_by(Charge.resource)
        .order_by(Charge.resource)
    )
    return {
        resource: Spending(unit, float(settled or 0.0), float(reserved or 0.0))
        for resource, unit, settled, reserved in session.execute(query)
    }


def _open(session: Session, experiment: Experiment) -> Sequence[Charge]:
    return session.scalars(
        select(Charge).where(Charge.experiment_id == experiment.id, Charge.settled_at.is_(None))
    ).all()


def _close(
    session: Session, experiment: Experiment, charge: Charge, amount: float, at: datetime
) -> None:
    charge.settled, charge.settled_at = amount, at
    events.append(
        session,
        experiment.campaign_id,
        EventKind.CHARGED,
        experiment_id=experiment.id,
        attempt=charge.n,
        resource=charge.resource,
        unit=charge.unit,
        reserved=charge.reserved,
        settled=amount,
    )
