"""A ledger of the first release, with experiments in every state, brought to today's tables."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from sqlalchemy import text
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.db import schema
from cloudseed.db.engine import Database, locate
from cloudseed.db.ledger import open_ledger
from cloudseed.db.rows import NewExperiment
from cloudseed.db.schema import SchemaState, check, upgrade
from cloudseed.db.states import ExperimentState

from .kit import decision

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

S = ExperimentState
AT = "2026-11-01T10:00:00.000000+00:00"

LIVES = {
    "planned": [],
    "sending": ["sending"],
    "running": ["sending", "running"],
    "in_doubt": ["sending", "in_doubt"],
    "measured": ["sending", "running", "measured"],
    "again": ["sending", "running", "planned"],
    "cancelled": ["cancelled"],
}
"""What each experiment went through, from `planned`."""


def insert(connection: Connection, table: str, **values: Any) -> None:
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)


def event(connection: Connection, experiment: int | None, kind: str, data: str) -> None:
    insert(
        connection, "event", campaign_id=1, experiment_id=experiment, at=AT, kind=kind, data=data
    )


@pytest.fixture
def old(empty_url: str) -> str:
    """A ledger at revision 0001 as its program wrote it."""
    database = Database(locate(empty_url), create=True)
    database.use_wal()
    with database.migrating() as connection:
        config = schema.alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        populate(connection)
    database.close()
    return empty_url


def populate(c: Connection) -> None:
    insert(
        c,
        "campaign",
        name="old",
        config="{}",
        config_sha=hashlib.sha256(b"{}").hexdigest(),
        status="running",
        stop_reason="",
        epoch=3,
        created_at=AT,
    )
    event(c, None, "campaign_claimed", '{"epoch":3}')
    event(c, None, "campaign_status", '{"after":"running","before":"new","reason":""}')
    insert(c, "structure", sha="r", body="{}", created_at=AT)
    insert(
        c,
        "decision",
        campaign_id=1,
        step=0,
        method="m",
        seed="1",
        pool_sha="p",
        pending="[]",
        observed="[]",
        encoder_id="e",
        model="{}",
        notes="[]",
        created_at=AT,
    )
    for i, (key, life) in enumerate(LIVES.items(), start=1):
        insert(
            c,
            "candidate",
            campaign_id=1,
            position=i - 1,
            key=key,
            formula="O",
            scope="s",
            root_sha="r",
            colouring='["O"]',
            papers="{}",
        )
        live(c, i, key, life)
    asked = ",".join(map(str, range(1, len(LIVES) + 1)))
    event(c, None, "decision_recorded", f'{{"decision_id":1,"experiments":[{asked}],"step":0}}')


def live(c: Connection, i: int, key: str, life: list[str]) -> None:
    """Writes an experiment, its attempt with its outbox row, and its log."""
    sent = "sending" in life
    insert(
        c,
        "experiment",
        campaign_id=1,
        candidate_id=i,
        decision_id=1,
        idem_key=key,
        lab="lab",
        state=life[-1] if life else "planned",
        attempt=int(sent),
        reason="",
        request="{}",
        details="{}",
        created_at=AT,
        finished_at=AT if key in {"measured", "cancelled"} else None,
    )
    event(c, i, "experiment_planned", "{}")
    before = "planned"
    for after in life:
        data = f'{{"after":"{after}","attempt":{int(sent)},"before":"{before}","reason":""}}'
        event(c, i, "experiment_moved", data)
        before = after
    if not sent:
        return
    closed = AT if key in {"measured", "again"} else None
    handle = f"job-{key}" if "running" in life else None
    insert(
        c,
        "attempt",
        experiment_id=i,
        n=1,
        epoch=3,
        handle=handle,
        opened_at=AT,
        closed_at=closed,
    )
    attempt = c.execute(text("SELECT max(id) FROM attempt")).scalar_one()
    acknowledged = AT if handle else None
    insert(c, "outbox", attempt_id=attempt, epoch=3, created_at=AT, acknowledged_at=acknowledged)
    if key == "measured":
        answered(c, i, key, attempt)


def answered(c: Connection, i: int, key: str, attempt: int) -> None:
    raw = b"{}"
    insert(
        c,
        "inbox",
        campaign_id=1,
        lab="lab",
        message_id="1",
        idem_key=key,
        raw=raw,
        sha=hashlib.sha256(raw).hexdigest(),
        received_at=AT,
        processed_at=AT,
        outcome="applied",
    )
    insert(
        c,
        "measurement",
        experiment_id=i,
        attempt_id=attempt,
        inbox_id=1,
        ordinal=0,
        property="band_gap",
        value=1.5,
        unit="eV",
        sigma=None,
        method="",
        created_at=AT,
    )
    told = '{"measurement_id":1,"property":"band_gap","sigma":null,"unit":"eV","value":1.5}'
    event(c, i, "measurement_recorded", told)


def test_nothing_is_lost_and_everything_goes_on(old: str) -> None:
    assert check(old) is SchemaState.OLDER
    assert upgrade(old) is SchemaState.OLDER
    with open_ledger(old, create=False) as ledger:
        assert ledger.verify() == []
        rows = {e.idem_key: e for e in ledger.experiments(1)}
        states = {k: life[-1] if life else "planned" for k, life in LIVES.items()}
        assert {k: e.state.value for k, e in rows.items()} == states
        assert [m.value for m in ledger.measurements(1)] == [1.5]
        with ledger.claim(1) as claim:
            assert claim.epoch == 4
            assert [i.experiment.idem_key for i in ledger.unacknowledged(claim)] == ["sending"]
            sent = []
            while (item := ledger.next_to_send(claim)) is not None:
                sent.append((item.experiment.idem_key, item.experiment.attempt))
                ledger.acknowledge(claim, item, f"job-{item.experiment.idem_key}-new")
            assert sent == [("planned", 1), ("again", 2)]
            ledger.transition(claim, rows["in_doubt"].id, S.RUNNING)
            done = rows["measured"]
            again = NewExperiment(done.candidate_id, "elsewhere", "dear", {}, (done.lab,))
            step = len(ledger.decisions(1))
            ledger.record_decision(claim, decision(step, experiments=[again]))
        assert ledger.verify() == []


def test_a_dry_run_tries_it_and_changes_nothing(old: str) -> None:
    with closing(Database(locate(old))) as database, database.reading() as session:
        before = session.execute(text("SELECT * FROM outbox ORDER BY id")).all()
    assert schema.rehearse(old) == ["0002", "0003"]
    assert check(old) is SchemaState.OLDER
    with closing(Database(locate(old))) as database, database.reading() as session:
        assert session.execute(text("SELECT * FROM outbox ORDER BY id")).all() == before
    upgrade(old)
    assert schema.rehearse(old) == []


def test_the_command_tells_what_it_would_do(old: str) -> None:
    asked = CliRunner().invoke(app, ["db", "upgrade", "--dry-run", old])
    assert asked.exit_code == 0, asked.output
    assert "0002" in asked.output
    assert check(old) is SchemaState.OLDER
    assert CliRunner().invoke(app, ["db", "upgrade", old]).exit_code == 0
    assert check(old) is SchemaState.CURRENT
    again = CliRunner().invoke(app, ["db", "upgrade", "--dry-run", old])
    assert "nothing to do" in again.output
