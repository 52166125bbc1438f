"""A damaged ledger is found out."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from cloudseed.db.ledger import SqlLedger, open_ledger
from cloudseed.db.rows import Claim, NewMeasurement
from cloudseed.db.states import ExperimentState
from cloudseed.errors import StorageError

from .kit import Lab, sql

S = ExperimentState


@pytest.fixture
def busy(ledger: SqlLedger, claim: Claim, lab: Lab) -> SqlLedger:
    """A ledger with an experiment in every kind of state."""
    lab.plan("a", "b", "c")
    lab.plan("d")
    measured, running = lab.run(), lab.run()
    ledger.settle(
        claim,
        lab.hear(measured.idem_key, b"raw"),
        S.MEASURED,
        measurements=[NewMeasurement("band_gap", 1.0, "eV")],
    )
    ledger.transition(claim, running.id, S.PLANNED)
    ledger.next_to_send(claim)
    assert ledger.verify() == []
    return ledger


def test_every_check_is_told_of_as_it_begins(busy: SqlLedger) -> None:
    told: list[tuple[str, int, int]] = []
    busy.verify(lambda *what: told.append(what))
    assert told == [("checks", done, len(told)) for done in range(len(told))]
    assert len(told) > 8


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("UPDATE experiment SET state = 'failed' WHERE id = 1", "its log leads to"),
        ("UPDATE experiment SET attempt = 7 WHERE id = 1", "counts 7 attempts"),
        ("UPDATE attempt SET closed_at = opened_at", "has 0 open attempts"),
        ("UPDATE attempt SET closed_at = NULL WHERE experiment_id = 1", "has 1 open attempts"),
        ("DELETE FROM outbox WHERE attempt_id = 1", "no row in the outbox"),
        ("UPDATE outbox SET withdrawn_at = created_at WHERE attempt_id IS NULL", "waits 0 times"),
        ("UPDATE outbox SET claimed_at = NULL WHERE attempt_id = 1", "waits 1 times"),
        ("UPDATE outbox SET claimed_at = NULL WHERE attempt_id = 1", "without an attempt"),
        ("UPDATE outbox SET n = 8 WHERE attempt_id = 1", "belongs to another attempt"),
        ("UPDATE inbox SET sha = 'x'", "not as it was received"),
        ("UPDATE inbox SET processed_at = NULL, outcome = NULL", "not applied"),
        ("UPDATE candidate SET position = 9 WHERE position = 0", "has gaps"),
        ("UPDATE campaign SET config = '{}'", "not as it was recorded"),
        ("UPDATE campaign SET status = 'finished'", "its log leads to None"),
        ("UPDATE campaign SET epoch = 9", "at epoch 9"),
        ("UPDATE decision SET step = 7 WHERE id = 2", "has number 7 after 0"),
        ("UPDATE decision SET observed = '[77]' WHERE id = 2", "1 measurements that are not"),
        ("UPDATE decision SET pending = '[77]' WHERE id = 2", "1 candidates that were never"),
        ("UPDATE experiment SET decision_id = 1 WHERE id = 4", "other experiments than its log"),
        ("UPDATE proposal SET candidate_id = 2 WHERE decision_id = 2", "did not ask for it"),
        ("UPDATE measurement SET value = 2.5 WHERE id = 1", "Measurement 1 is not as it was"),
        ("DELETE FROM measurement WHERE id = 1", "tells of measurement 1"),
        (
            (
                "INSERT INTO withdrawal (measurement_id, superseded_by, reason, retracted_at) "
                "SELECT 1, 1, 'x', created_at FROM measurement WHERE id = 1"
            ),
            "not of its kind",
        ),
        ("UPDATE measurement SET supersedes = 1 WHERE id = 1", "was not withdrawn"),
        (
            (
                "INSERT INTO decision_mark (decision_id, measurement_id, reason, marked_at) "
                "SELECT 1, 1, 'x', created_at FROM measurement WHERE id = 1"
            ),
            "marks of decision 1",
        ),
        (
            (
                "INSERT INTO structure (sha, body, created_at) "
                "SELECT 'abc', '{}', created_at FROM measurement WHERE id = 1"
            ),
            "1 structures belong to no candidate",
        ),
        (
            (
                "INSERT INTO event (campaign_id, experiment_id, at, kind, data) SELECT 1, 1, "
                "opened_at, 'experiment_moved', "
                '\'{"before":"planned","after":"running","attempt":1}\' FROM attempt WHERE id = 1'
            ),
            "in its log, where it was measured",
        ),
        (
            (
                "INSERT INTO experiment SELECT 99, campaign_id, candidate_id, decision_id, 'k', "
                "lab, 'failed', 0, reason, request, details, created_at, finished_at "
                "FROM experiment WHERE id = 1"
            ),
            "its log leads to None",
        ),
    ],
)
def test_damage_is_found(busy: SqlLedger, damage: str, finding: str) -> None:
    with sql(busy) as connection:
        # A colon before a value would be a parameter.
        connection.execute(text(damage.replace(":", r"\:")))
    assert any(finding in problem for problem in busy.verify()), busy.verify()


def test_rows_that_refer_to_none_are_found(sqlite_url: str) -> None:
    with open_ledger(sqlite_url) as ledger:
        connection = ledger._database.engine.raw_connection()
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=OFF")
        cursor.execute("INSERT INTO lab_health VALUES (5, 'lab', 0, '', NULL, NULL)")
        cursor.execute("PRAGMA foreign_keys=ON")
        connection.close()
        assert ledger.verify() == [
            "Row 1 of lab_health refers to a row of campaign that is not there."
        ]


def test_a_damaged_page_is_found(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with open_ledger(sqlite_url) as ledger:
        ledger.create_campaign("a", {})
        with sql(ledger) as connection:
            page = connection.execute(
                text("SELECT rootpage FROM sqlite_master WHERE name = 'ix_event_campaign_id_id'")
            ).scalar_one()
    raw = bytearray(path.read_bytes())
    raw[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(raw)
    with open_ledger(sqlite_url) as ledger:
        found = ledger.verify()
    assert found
    assert all("damaged" in problem for problem in found)


def test_a_file_too_damaged_to_open_says_so(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    path.write_bytes(raw)
    with pytest.raises(StorageError, match="damaged"):
        open_ledger(sqlite_url)


def test_what_may_want_a_look_is_no_contradiction(busy: SqlLedger, claim: Claim, lab: Lab) -> None:
    assert busy.notices() == []
    lab.hear("nobody's key")
    inbox_id = lab.hear("somebody's key")
    busy.settle(claim, inbox_id, S.MEASURED)
    assert busy.receive(claim, "lab", f"message-{lab.messages}", "other", b"{}") is False
    told = " ".join(busy.notices())
    for words in ("1 messages contradict", "1 messages wait", "1 messages are about"):
        assert words in told
    assert busy.verify() == []
