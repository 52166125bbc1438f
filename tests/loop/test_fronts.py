"""Campaigns for several objectives: the front in status, report and stopping rules."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cloudseed.cli.tables import ranked_table, status_table
from cloudseed.db import open_ledger
from cloudseed.errors import ObjectiveError, SpecError, UnitError
from cloudseed.loop import load_spec
from cloudseed.loop.exporting import export_csv
from cloudseed.loop.reporting import write_results
from cloudseed.loop.results import front_of, improvements, last_gain, ranked
from cloudseed.surrogate import on_front
from tests.loop.tables import ended, write_table_campaign

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def written(tmp_path: Path, generation):
    """Returns a function that writes a campaign file with two properties of every candidate."""

    def write(**changes: object) -> Path:
        values = {
            "bulk_modulus": lambda key: sum(map(ord, key)) % 41,
            "formation_energy": lambda key: sum(map(ord, key)) % 17 / 10,
        }
        spec = {
            "name": "front",
            "objective": ["max bulk_modulus", "min formation_energy"],
            "budget": {"experiments": 12},
            "batch": 2,
        }
        return write_table_campaign(tmp_path, generation, values, **(spec | changes))

    return write


def test_a_campaign_finds_and_shows_a_front(written, tmp_path, monkeypatch):
    path = written()
    end, workspace = ended(path, tmp_path / "run", monkeypatch)
    problem = load_spec(path).problem
    on = on_front(problem, [r.values for r in end.results])
    assert {r.candidate.key for r in end.front} == {
        r.candidate.key for r, is_on in zip(end.results, on, strict=True) if is_on
    }
    best_first = ranked(end.results, problem)
    assert {r.candidate.key for r in best_first[: len(end.front)]} == {
        r.candidate.key for r in end.front
    }
    curve = improvements(end.results, problem)
    assert curve == sorted(curve)
    assert end.hypervolume == curve[-1] > 0
    assert last_gain(end.results, problem).step == max(r.step for r in end.front)
    plain = end.to_json()
    assert len(plain["front"]) == len(end.front)
    assert plain["hypervolume"] == end.hypervolume

    write_results(workspace)
    report = (workspace.path / "report.html").read_text()
    assert "The front" in report
    assert "hypervolume of the front" in report
    assert "front-0" in report
    assert "random, expected" in report
    assert "LogNEHVI" in report
    assert ranked_table(workspace, 3).row_count == 3
    assert status_table(end, "here").renderable.row_count >= 9


def test_a_campaign_ends_where_the_front_no_longer_grows(written, tmp_path, monkeypatch):
    path = written(stop={"no_improvement_rounds": 2}, budget={"experiments": 40})
    end, _ = ended(path, tmp_path / "run", monkeypatch)
    assert end.stop_reason == "2 rounds brought nothing better"
    assert end.rounds_since_best >= 2
    assert front_of(end.results, load_spec(path).problem) == list(end.front)


def test_a_hypervolume_can_end_a_campaign(written, tmp_path, monkeypatch):
    reference = {"bulk_modulus": "0 GPa", "formation_energy": "2000 meV/atom"}
    path = written(reference=reference, stop={"target": 10})
    end, _ = ended(path, tmp_path / "run", monkeypatch)
    assert end.hypervolume >= 10
    assert end.stop_reason == "the target 10 is reached"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"stop": {"regret": {"epsilon": 1}}}, SpecError),
        ({"stop": {"expected_hits": {"below": 1}}}, SpecError),
        ({"stop": {"target": 1}}, SpecError),
        ({"reference": {"bulk_modulus": 1}}, ObjectiveError),
        ({"objective": "max bulk_modulus", "reference": {"bulk_modulus": 1}}, ObjectiveError),
        ({"objective": ["max bulk_modulus", "find all"]}, ObjectiveError),
        ({"objective": ["max bulk_modulus", 3]}, SpecError),
    ],
)
def test_what_does_not_go_with_a_front_is_refused(written, changes, error):
    with pytest.raises(error):
        load_spec(written(**changes))


def test_a_lab_is_asked_for_what_a_formula_holds(written, tmp_path, monkeypatch):
    path = written(
        objective="max merit",
        derived={"merit": "bulk_modulus / (10 GPa) - formation_energy / (1 eV/atom)"},
        constraints=["merit <= 3.5"],
    )
    end, workspace = ended(path, tmp_path / "run", monkeypatch)
    with closing(open_ledger(workspace.ledger_url)) as ledger:
        asked = [e.request["properties"] for e in ledger.experiments(1)]
    assert asked == [["bulk_modulus", "formation_energy"]] * len(end.results)
    for result in end.results:
        bulk, energy = (result.value(n) for n in ("bulk_modulus", "formation_energy"))
        assert result.value("merit") == pytest.approx(bulk / 10 - energy)
        assert result.feasible == (result.value("merit") <= 3.5)
    assert any("merit" in r.predicted for r in end.results)
    table = export_csv(workspace)
    assert "merit" in table
    assert "bulk_modulus (GPa)" in table


def test_units_in_a_formula_are_checked_with_the_file(written):
    with pytest.raises(UnitError):
        load_spec(written(objective="max bulk_modulus + formation_energy"))
