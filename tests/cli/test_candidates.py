"""`cloudseed candidates explain` on a campaign's ledger."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.db import open_ledger
from cloudseed.errors import UsageError
from cloudseed.loop import Workspace
from cloudseed.loop.pool import record_pool
from tests.loop.conftest import generation
from tests.loop.small import spec_of

__all__ = ["generation"]


@pytest.fixture
def run(tmp_path, generation):
    """A run folder whose campaign has a pool."""
    workspace = Workspace.create(tmp_path / "run", "small", None)
    config = {"spec": spec_of().model_dump(mode="json")}
    with open_ledger(workspace.ledger_url) as ledger:
        row = ledger.create_campaign("small", config)
        with ledger.claim(row.id) as claim:
            record_pool(ledger, claim, generation)
    return workspace.path


def ask(*arguments):
    return CliRunner().invoke(app, ["candidates", "explain", *map(str, arguments)])


def test_a_recorded_candidate_is_explained(run, generation):
    proposal = generation.proposals[5]
    said = ask(proposal.kept.key, run)
    assert said.exit_code == 0, said.exception
    assert said.output.splitlines()[0] == f"{proposal.crystal.formula}   {proposal.kept.key}"
    assert "charge_neutrality 1: pass" in said.output
    papers = json.loads(ask(proposal.kept.key, run, "--json").output)
    assert papers == json.loads(json.dumps(proposal.papers()))


def test_what_is_not_recorded_is_one_sentence(run):
    said = ask("Xe", run)
    assert isinstance(said.exception, UsageError)
    assert "no candidate" in said.exception.message
    assert said.exception.hint
