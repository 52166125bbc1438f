"""Campaigns for windows and targets on the table lab, and what makes them stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloudseed.errors import InputError, SpecError
from cloudseed.loop import create_campaign, load_spec
from cloudseed.loop.reporting import write_results
from tests.loop.tables import ended, write_table_campaign

if TYPE_CHECKING:
    from pathlib import Path


def gap(key: str) -> float:
    """A gap that is often zero, made up from a key."""
    return max(0.0, sum(map(ord, key)) % 40 / 10 - 1.5)


@pytest.fixture
def written(tmp_path: Path, generation):
    """Returns a function that writes a campaign file with a table for all of its candidates."""

    def write(**changes: object) -> Path:
        spec = {"name": "gaps", "budget": {"experiments": 16}}
        return write_table_campaign(tmp_path, generation, {"band_gap": gap}, **(spec | changes))

    return write


def reported(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a campaign to its end; returns how it stands then, and its report."""
    end, workspace = ended(path, folder, monkeypatch)
    write_results(workspace)
    return end, (workspace.path / "report.html").read_text()


def test_a_window_counts_what_is_found(written, tmp_path, monkeypatch):
    end, report = reported(
        written(objective="band_gap in [500, 1500] meV"), tmp_path / "run", monkeypatch
    )
    measured = [r.value("band_gap") for r in end.results]
    assert end.hits == sum(0.5 <= value <= 1.5 for value in measured) > 0
    assert end.to_json()["hits"] == end.hits
    assert "materials found" in report
    assert "find all" in report


def test_a_number_of_finds_can_end_a_campaign(written, tmp_path, monkeypatch):
    path = written(
        objective="find all", constraints=["band_gap >= 0.5 eV"], stop={"target": 2}, batch=1
    )
    end, _ = reported(path, tmp_path / "run", monkeypatch)
    assert end.hits >= 2
    assert end.stop_reason == "the target 2 is reached"


def test_nothing_further_expected_ends_a_campaign(written, tmp_path, monkeypatch):
    path = written(
        objective="find all",
        constraints=["band_gap >= 9 eV"],
        budget={"experiments": 24},
        stop={"expected_hits": {"below": 100, "next": 4}},
    )
    end, _ = reported(path, tmp_path / "run", monkeypatch)
    assert "further hits are expected in the next 4" in end.stop_reason
    assert end.measured < 24
    assert all(0 <= found["expected_hits"] <= 4 for found in end.outlooks.values())
    assert end.to_json()["outlook"]


def test_a_target_is_come_near(written, tmp_path, monkeypatch):
    path = written(objective="band_gap = 1.0 eV", stop={"target": 0.15})
    end, report = reported(path, tmp_path / "run", monkeypatch)
    assert abs(end.best.value("band_gap") - 1.0) <= 0.15 or end.measured == 16
    assert "distance from 1" in report


def test_the_best_being_likely_ends_a_campaign(written, tmp_path, monkeypatch):
    path = written(objective="max band_gap", stop={"regret": {"epsilon": 50, "probability": 0.9}})
    end, _ = reported(path, tmp_path / "run", monkeypatch)
    assert "nothing left is better by more than 50" in end.stop_reason


@pytest.mark.parametrize(
    ("objective", "stop"),
    [
        ("max band_gap", {"expected_hits": {"below": 1}}),
        ("band_gap in [1, 2] eV", {"regret": {"epsilon": 0.1}}),
    ],
)
def test_rules_that_do_not_fit_the_objective_are_refused(written, objective, stop):
    path = written(objective=objective, stop=stop)
    with pytest.raises(SpecError, match="needs an objective"):
        load_spec(path)


def test_the_best_share_of_the_pool_is_found(written, tmp_path, monkeypatch):
    path = written(objective="find highest 10 % band_gap", stop={"target": 1}, batch=2)
    end, report = reported(path, tmp_path / "run", monkeypatch)
    assert end.hits >= 1
    assert end.stop_reason == "the target 1 is reached"
    assert end.best.value("band_gap") == max(r.value("band_gap") or 0 for r in end.results)
    assert "find highest 10 % band_gap" in report
    assert end.to_json()["hits"] == end.hits


def test_a_head_that_is_misspelt_is_refused_before_anything_is_made(written, tmp_path):
    path = written(objective="max band_gap", surrogate={"heads": {"band_gap": "bandgap"}})
    with pytest.raises(InputError, match="no head 'bandgap'") as caught:
        create_campaign(load_spec(path), tmp_path / "run", lambda _: None)
    assert caught.value.hint == "Did you mean 'band_gap'?"
    assert not (tmp_path / "run").exists()
