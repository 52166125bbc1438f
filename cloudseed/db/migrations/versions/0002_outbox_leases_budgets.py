"""Outbox rows from the decision on; leases, wishes, budgets, labs' health, withdrawals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")
MOMENT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")

_WAITING = sa.text("claimed_at IS NULL AND withdrawn_at IS NULL")


def upgrade() -> None:
    """Rebuilds the outbox and adds tables; no other table is touched."""
    _rebuild_outbox()
    _who_drives()
    _what_it_costs()
    _what_no_longer_stands()


def _rebuild_outbox() -> None:
    """Gives what is planned its row, where the first release wrote rows only when it sent."""
    op.execute("CREATE TEMPORARY TABLE outbox_before AS SELECT * FROM outbox")
    op.drop_table("outbox")
    op.create_table(
        "outbox",
        sa.Column("id", ID, nullable=False),
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("n", ID, nullable=False),
        sa.Column("lab", sa.Text(), nullable=False),
        sa.Column("attempt_id", ID, nullable=True),
        sa.Column("epoch", ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("claimed_at", MOMENT, nullable=True),
        sa.Column("acknowledged_at", MOMENT, nullable=True),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_outbox_campaign_id")
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiment.id"], name=op.f("fk_outbox_experiment_id")
        ),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name=op.f("fk_outbox_attempt_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("attempt_id", name=op.f("uq_outbox_attempt_id")),
        sa.UniqueConstraint("experiment_id", "n", name=op.f("uq_outbox_experiment_id_n")),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_outbox_waiting",
        "outbox",
        ["campaign_id", "experiment_id"],
        unique=False,
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
    op.execute(
        "INSERT INTO outbox (campaign_id, experiment_id, n, lab, attempt_id, epoch, created_at,"
        " due_at, claimed_at, acknowledged_at)"
        " SELECT e.campaign_id, e.id, a.n, e.lab, a.id, b.epoch, b.created_at, b.created_at,"
        " b.created_at, b.acknowledged_at"
        " FROM outbox_before b JOIN attempt a ON a.id = b.attempt_id"
        " JOIN experiment e ON e.id = a.experiment_id ORDER BY b.id"
    )
    op.execute(
        "INSERT INTO outbox (campaign_id, experiment_id, n, lab, created_at, due_at)"
        " SELECT campaign_id, id, attempt + 1, lab, created_at, created_at FROM experiment"
        " WHERE state = 'planned' ORDER BY id"
    )
    op.execute("DROP TABLE outbox_before")


def _who_drives() -> None:
    """Leases of engines, wishes of people, health of labs."""
    op.create_table(
        "lease",
        sa.Column("campaign_id", ID, autoincrement=False, nullable=False),
        sa.Column("epoch", ID, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", MOMENT, nullable=True),
        sa.Column("unproven", ID, nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_lease_campaign_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", name=op.f("pk_lease")),
        sqlite_strict=True,
    )
    op.create_table(
        "control",
        sa.Column("campaign_id", ID, autoincrement=False, nullable=False),
        sa.Column("wish", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "wish IN ('run', 'pause', 'drain', 'stop')", name=op.f("ck_control_wish")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_control_campaign_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", name=op.f("pk_control")),
        sqlite_strict=True,
    )
    op.create_table(
        "lab_health",
        sa.Column("campaign_id", ID, autoincrement=False, nullable=False),
        sa.Column("lab", sa.Text(), nullable=False),
        sa.Column("failures", ID, nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("failed_at", MOMENT, nullable=True),
        sa.Column("closed_until", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_lab_health_campaign_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", "lab", name=op.f("pk_lab_health")),
        sqlite_strict=True,
    )


def _what_it_costs() -> None:
    """Charges against budgets."""
    op.create_table(
        "charge",
        sa.Column("id", ID, nullable=False),
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("n", ID, nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("reserved", REAL, nullable=False),
        sa.Column("settled", REAL, nullable=True),
        sa.Column("reserved_at", MOMENT, nullable=False),
        sa.Column("settled_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_charge_campaign_id")
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiment.id"], name=op.f("fk_charge_experiment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charge")),
        sa.UniqueConstraint(
            "experiment_id", "n", "resource", name=op.f("uq_charge_experiment_id_n_resource")
        ),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_charge_campaign_id_resource"), "charge", ["campaign_id", "resource"], unique=False
    )


def _what_no_longer_stands() -> None:
    """Measurements that were withdrawn, and the decisions that were made on them."""
    op.create_table(
        "withdrawal",
        sa.Column("measurement_id", ID, autoincrement=False, nullable=False),
        sa.Column("superseded_by", ID, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("retracted_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["measurement_id"], ["measurement.id"], name=op.f("fk_withdrawal_measurement_id")
        ),
        sa.ForeignKeyConstraint(
            ["superseded_by"], ["measurement.id"], name=op.f("fk_withdrawal_superseded_by")
        ),
        sa.PrimaryKeyConstraint("measurement_id", name=op.f("pk_withdrawal")),
        sqlite_strict=True,
    )
    op.create_table(
        "decision_mark",
        sa.Column("decision_id", ID, nullable=False),
        sa.Column("measurement_id", ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("marked_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.id"], name=op.f("fk_decision_mark_decision_id")
        ),
        sa.ForeignKeyConstraint(
            ["measurement_id"], ["measurement.id"], name=op.f("fk_decision_mark_measurement_id")
        ),
        sa.PrimaryKeyConstraint("decision_id", "measurement_id", name=op.f("pk_decision_mark")),
        sqlite_strict=True,
    )
