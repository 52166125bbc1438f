"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")
MOMENT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes all tables."""
    _what_could_be_made()
    _what_was_decided()
    _what_was_sent()
    _what_was_said()
    _what_happened()


def _what_could_be_made() -> None:
    """Campaigns and their candidates."""
    op.create_table(
        "campaign",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("config_sha", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("stop_reason", sa.Text(), nullable=False),
        sa.Column("epoch", ID, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("heartbeat_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "status IN ('new', 'running', 'stopped', 'finished')", name=op.f("ck_campaign_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
        sa.UniqueConstraint("name", name=op.f("uq_campaign_name")),
        sqlite_strict=True,
    )
    op.create_table(
        "structure",
        sa.Column("sha", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("sha", name=op.f("pk_structure")),
        sqlite_strict=True,
    )
    op.create_table(
        "candidate",
        sa.Column("id", ID, nullable=False),
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("position", ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("formula", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("root_sha", sa.Text(), nullable=False),
        sa.Column("colouring", sa.Text(), nullable=False),
        sa.Column("papers", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_candidate_campaign_id")
        ),
        sa.ForeignKeyConstraint(
            ["root_sha"], ["structure.sha"], name=op.f("fk_candidate_root_sha")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidate")),
        sa.UniqueConstraint("campaign_id", "key", name=op.f("uq_candidate_campaign_id_key")),
        sa.UniqueConstraint(
            "campaign_id", "position", name=op.f("uq_candidate_campaign_id_position")
        ),
        sqlite_strict=True,
    )
    op.create_table(
        "embedding",
        sa.Column("encoder_id", sa.Text(), nullable=False),
        sa.Column("string_sha", sa.LargeBinary(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("encoder_id", "string_sha", name=op.f("pk_embedding")),
        sqlite_strict=True,
    )


def _what_was_decided() -> None:
    """Decisions and what they asked for."""
    op.create_table(
        "decision",
        sa.Column("id", ID, nullable=False),
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("step", ID, nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("seed", sa.Text(), nullable=False),
        sa.Column("pool_sha", sa.Text(), nullable=False),
        sa.Column("pending", sa.Text(), nullable=False),
        sa.Column("observed", sa.Text(), nullable=False),
        sa.Column("encoder_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_decision_campaign_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
        sa.UniqueConstraint("campaign_id", "step", name=op.f("uq_decision_campaign_id_step")),
        sqlite_strict=True,
    )
    op.create_table(
        "proposal",
        sa.Column("decision_id", ID, nullable=False),
        sa.Column("rank", ID, autoincrement=False, nullable=False),
        sa.Column("candidate_id", ID, nullable=False),
        sa.Column("acquisition", REAL, nullable=True),
        sa.Column("feasible", REAL, nullable=True),
        sa.Column("prediction", sa.Text(), nullable=False),
        sa.Column("chosen", FLAG, nullable=False),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidate.id"], name=op.f("fk_proposal_candidate_id")
        ),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.id"], name=op.f("fk_proposal_decision_id")
        ),
        sa.PrimaryKeyConstraint("decision_id", "rank", name=op.f("pk_proposal")),
        sqlite_strict=True,
    )
    op.create_table(
        "experiment",
        sa.Column("id", ID, nullable=False),
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("candidate_id", ID, nullable=False),
        sa.Column("decision_id", ID, nullable=False),
        sa.Column("idem_key", sa.Text(), nullable=False),
        sa.Column("lab", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "state IN ('planned', 'sending', 'running', 'in_doubt', 'measured', 'infeasible', "
            "'refused', 'failed', 'cancelled', 'retracted')",
            name=op.f("ck_experiment_state"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_experiment_campaign_id")
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidate.id"], name=op.f("fk_experiment_candidate_id")
        ),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.id"], name=op.f("fk_experiment_decision_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiment")),
        sa.UniqueConstraint("idem_key", name=op.f("uq_experiment_idem_key")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_experiment_campaign_id_state"),
        "experiment",
        ["campaign_id", "state"],
        unique=False,
    )
    op.create_index(
        "uq_experiment_live_candidate",
        "experiment",
        ["candidate_id"],
        unique=True,
        sqlite_where=sa.text("state NOT IN ('cancelled', 'failed', 'refused', 'retracted')"),
        postgresql_where=sa.text("state NOT IN ('cancelled', 'failed', 'refused', 'retracted')"),
    )


def _what_was_sent() -> None:
    """Sendings of experiments."""
    op.create_table(
        "attempt",
        sa.Column("id", ID, nullable=False),
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("n", ID, nullable=False),
        sa.Column("epoch", ID, nullable=False),
        sa.Column("handle", sa.Text(), nullable=True),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiment.id"], name=op.f("fk_attempt_experiment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("experiment_id", "n", name=op.f("uq_attempt_experiment_id_n")),
        sqlite_strict=True,
    )
    op.create_index(
        "uq_attempt_open",
        "attempt",
        ["experiment_id"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", ID, nullable=False),
        sa.Column("attempt_id", ID, nullable=False),
        sa.Column("epoch", ID, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("acknowledged_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name=op.f("fk_outbox_attempt_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("attempt_id", name=op.f("uq_outbox_attempt_id")),
        sqlite_strict=True,
    )


def _what_was_said() -> None:
    """Messages from labs and what they mean."""
    op.create_table(
        "inbox",
        sa.Column("id", ID, nullable=False),
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("lab", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("idem_key", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("sha", sa.Text(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("processed_at", MOMENT, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_inbox_campaign_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
        sa.UniqueConstraint(
            "campaign_id", "lab", "message_id", name=op.f("uq_inbox_campaign_id_lab_message_id")
        ),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_inbox_idem_key"), "inbox", ["idem_key"], unique=False)
    op.create_index(
        "ix_inbox_unprocessed",
        "inbox",
        ["campaign_id"],
        unique=False,
        sqlite_where=sa.text("processed_at IS NULL"),
        postgresql_where=sa.text("processed_at IS NULL"),
    )
    op.create_table(
        "inbox_conflict",
        sa.Column("id", ID, nullable=False),
        sa.Column("inbox_id", ID, nullable=False),
        sa.Column("idem_key", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("sha", sa.Text(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["inbox_id"], ["inbox.id"], name=op.f("fk_inbox_conflict_inbox_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_conflict")),
        sa.UniqueConstraint(
            "inbox_id", "idem_key", "sha", name=op.f("uq_inbox_conflict_inbox_id_idem_key_sha")
        ),
        sqlite_strict=True,
    )
    op.create_table(
        "measurement",
        sa.Column("id", ID, nullable=False),
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("attempt_id", ID, nullable=True),
        sa.Column("inbox_id", ID, nullable=False),
        sa.Column("ordinal", ID, nullable=False),
        sa.Column("property", sa.Text(), nullable=False),
        sa.Column("value", REAL, nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("sigma", REAL, nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("supersedes", ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempt.id"], name=op.f("fk_measurement_attempt_id")
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiment.id"], name=op.f("fk_measurement_experiment_id")
        ),
        sa.ForeignKeyConstraint(["inbox_id"], ["inbox.id"], name=op.f("fk_measurement_inbox_id")),
        sa.ForeignKeyConstraint(
            ["supersedes"], ["measurement.id"], name=op.f("fk_measurement_supersedes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measurement")),
        sa.UniqueConstraint("inbox_id", "ordinal", name=op.f("uq_measurement_inbox_id_ordinal")),
        sa.UniqueConstraint("supersedes", name=op.f("uq_measurement_supersedes")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_measurement_experiment_id"), "measurement", ["experiment_id"], unique=False
    )


def _what_happened() -> None:
    """The event log, which triggers keep from being changed."""
    op.create_table(
        "event",
        sa.Column("id", ID, nullable=False),
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("experiment_id", ID, nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_event_campaign_id")
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiment.id"], name=op.f("fk_event_experiment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_event_campaign_id_id"), "event", ["campaign_id", "id"], unique=False)
    op.create_index(op.f("ix_event_experiment_id"), "event", ["experiment_id"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        for deed in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER event_no_{deed.lower()} BEFORE {deed} ON event "
                "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION cloudseed_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the event log is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event "
        "FOR EACH STATEMENT EXECUTE FUNCTION cloudseed_append_only()"
    )
