"""A campaign for a property at a temperature, on the table lab, from its file to its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from cloudseed.errors import ObjectiveError
from cloudseed.loop import campaign as module
from cloudseed.loop import (
    campaign_of,
    create_campaign,
    load_results,
    load_spec,
    open_campaign,
    ranked,
)
from cloudseed.loop.reporting import write_results
from cloudseed.loop.workspace import reading
from tests.loop.small import PARENTS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def written(tmp_path: Path, generation):
    """Returns a function that writes a campaign file with a table for all of its candidates."""
    lines = ["key,heat_capacity@500K"]
    for kept in (proposal.kept for proposal in generation.proposals):
        number = sum(map(ord, kept.candidate.key))
        lines.append(f"{kept.candidate.key},{0.08 + number % 50 / 1000}")
    (tmp_path / "values.csv").write_text("\n".join(lines))

    def write(objective: str) -> Path:
        spec = {
            "name": "warm",
            "parents": [str(PARENTS)],
            "objective": objective,
            "constraints": ["heat_capacity@500K >= 0.09 kJ/mol/K"],
            "proposer": {"per_parent": 60},
            "lab": {
                "adapter": "table",
                "config": {
                    "path": "values.csv",
                    "column": "key",
                    "match": "candidate",
                    "units": {"heat_capacity@500K": "kJ/mol/K"},
                },
            },
            "budget": {"experiments": 8},
            "initial": 4,
            "seed": 3,
        }
        path = tmp_path / "campaign.yaml"
        path.write_text(yaml.safe_dump(spec))
        return path

    return write


@pytest.mark.parametrize("name", ["heat_capacity@500K", "heat_capacity@500.0K"])
def test_runs_to_its_end(written, tmp_path, monkeypatch, name):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    spec = load_spec(written(f"max {name}"))
    workspace = create_campaign(spec, tmp_path / "run", lambda _: None)
    with open_campaign(workspace, lambda _: None) as campaign:
        end = campaign.run()
    assert (end.status, end.measured) == ("finished", 8)
    with reading(workspace) as ledger:
        row, spec = campaign_of(ledger, workspace)
        found = ranked(load_results(ledger, row.id, spec.problem), spec.problem)
    values = [result.value("heat_capacity@500K") for result in found]
    # In the property's own unit, which is not the table's.
    assert all(80 <= value <= 130 for value in values)
    assert found[0].feasible
    write_results(workspace)
    assert "heat_capacity@500K" in (workspace.path / "ranked.csv").read_text()
    assert "J/mol/K" in (workspace.path / "report.html").read_text()


def test_a_bad_temperature_is_refused_before_anything_runs(written):
    with pytest.raises(ObjectiveError, match="no temperature"):
        load_spec(written("max heat_capacity@0K"))
