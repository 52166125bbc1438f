"""A candidate may have an experiment that counts in each lab, no longer in one alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LIVE = sa.text("state NOT IN ('cancelled', 'failed', 'refused', 'retracted')")


def upgrade() -> None:
    """Puts the lab into the index; what the old one allowed, the new one allows too."""
    op.drop_index("uq_experiment_live_candidate", table_name="experiment")
    op.create_index(
        "uq_experiment_live_candidate",
        "experiment",
        ["candidate_id", "lab"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
