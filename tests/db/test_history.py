"""What was known at an earlier time can be read from the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloudseed.db.rows import Claim, NewMeasurement
from cloudseed.db.states import ExperimentState
from cloudseed.errors import LedgerError

from .kit import Lab, candidate

if TYPE_CHECKING:
    from cloudseed.db.ledger import SqlLedger

S = ExperimentState


@pytest.fixture
def lived(ledger: SqlLedger, claim: Claim, lab: Lab) -> SqlLedger:
    """Two decisions; the first one's result came before the second, and was retracted after."""
    lab.plan("a", "b")
    first = lab.run()
    gap = [NewMeasurement("band_gap", 1.0, "eV")]
    ledger.settle(claim, lab.hear(first.idem_key), S.MEASURED, measurements=gap)
    lab.plan("c")
    ledger.add_candidates(claim, [candidate("d")])
    lab.plan("e")
    ledger.settle(claim, lab.hear(first.idem_key), S.RETRACTED, reason="wrong sample")
    return ledger


def test_states_are_those_before_a_decision(lived: SqlLedger) -> None:
    assert lived.states_before(1) == {}
    assert lived.states_before(2) == {1: S.MEASURED, 2: S.PLANNED}
    assert lived.states_before(3) == {1: S.MEASURED, 2: S.PLANNED, 3: S.PLANNED}
    with pytest.raises(LedgerError, match="no decision with id 9"):
        lived.states_before(9)


def test_the_pool_is_as_large_as_it_was(lived: SqlLedger) -> None:
    assert [lived.pool_before(i) for i in (1, 2, 3)] == [2, 3, 5]


def test_measurements_are_found_though_retracted(lived: SqlLedger) -> None:
    assert lived.measurements(1) == []
    (row,) = lived.measured([1, 1])
    assert (row.experiment_id, row.property, row.value) == (1, "band_gap", 1.0)
    assert lived.measured([]) == []


def test_a_retraction_is_told_with_its_reason(lived: SqlLedger) -> None:
    (row,) = lived.amendments(1)
    assert (row.experiment_id, row.measurement_id, row.replaced_by) == (1, 1, None)
    assert row.reason == "wrong sample"


def test_a_life_is_the_lines_of_one_experiment(lived: SqlLedger) -> None:
    kinds = [e.kind for e in lived.events_of(1)]
    assert kinds[0] == "experiment_planned"
    assert {e.experiment_id for e in lived.events_of(1)} == {1}
    assert [e.data["after"] for e in lived.events_of(1) if e.kind == "experiment_moved"] == [
        "sending",
        "running",
        "measured",
        "retracted",
    ]


def test_candidates_are_found_by_id(lived: SqlLedger) -> None:
    assert [c.key for c in lived.candidates_by_id([3, 1, 3])] == ["a", "c"]
