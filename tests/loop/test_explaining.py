"""Decisions and experiments are told in full: why, what nearly was, what came."""

from __future__ import annotations

import json
import math

import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.db import ExperimentState
from cloudseed.errors import UsageError
from cloudseed.loop.decided import list_decisions, show_decision
from cloudseed.loop.explaining import explain_experiment, find_experiment


def asked(*words: object):
    return CliRunner().invoke(app, [str(w) for w in words])


def test_a_decision_shows_what_it_chose_and_nearly_chose(finished):
    decision = finished.decisions(1)[4]
    told = show_decision(finished, 1, decision, next_best=3)
    chosen = {pick.candidate.key for pick in told.chosen}
    assert len(chosen) == 2
    assert all(pick.experiment.decision_id == decision.id for pick in told.chosen)
    ranks = [pick.proposal.rank for pick in told.runners_up]
    assert len(ranks) == 3
    assert ranks == sorted(ranks)
    assert not chosen & {pick.candidate.key for pick in told.runners_up}
    assert told.to_json()["chosen"][0]["predicted"]["bulk_modulus"]["sd"] > 0


def test_a_pick_that_covers_the_pool_is_told_as_such(finished):
    told = [
        explain_experiment(finished, finished.campaigns()[0], e) for e in finished.experiments(1)
    ]
    roles = {one.role for one in told}
    assert {"value", "covering"} <= roles
    for one in told:
        covers = "cover the pool" in one.why
        assert covers == (one.role != "value")


def test_the_list_has_a_line_per_decision(finished):
    lines = list_decisions(finished, 1)
    assert [line["round"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[0]["method"] == "space_filling"
    assert len(lines[0]["chosen"]) == 2
    assert lines[-1]["known"] > lines[1]["known"] > 0


def test_an_experiment_is_explained(finished):
    ran = [e for e in finished.experiments(1) if e.state is ExperimentState.MEASURED][-1]
    told = explain_experiment(finished, finished.campaigns()[0], ran)
    assert f"rank {told.proposal.rank + 1} of" in told.why
    (bulk,) = [v for v in told.verdicts if v.property == "bulk_modulus"]
    mean, sd = bulk.predicted
    value, sigma = bulk.measured
    assert bulk.z == pytest.approx((value - mean) / math.sqrt(sd**2 + sigma**2))
    assert any("->" in line or "parent" in line for line in told.lineage)
    assert told.events[0].kind == "experiment_planned"
    assert json.loads(json.dumps(told.to_json(), allow_nan=False))["state"] == "measured"


def test_the_first_experiments_were_chosen_before_any_model(finished):
    first = finished.experiments(1)[0]
    told = explain_experiment(finished, finished.campaigns()[0], first)
    assert "before any model" in told.why
    assert all(v.z is None for v in told.verdicts)
    if first.state is ExperimentState.MEASURED:
        assert told.later == tuple(range(2, len(finished.decisions(1)) + 1))


def test_experiments_are_found_by_number_key_and_formula(finished):
    first = finished.experiments(1)[0]
    (row,) = finished.candidates_by_id([first.candidate_id])
    assert find_experiment(finished, 1, "1") == find_experiment(finished, 1, row.key) == first
    for wrong in ("999", "Unobtainium"):
        with pytest.raises(UsageError, match="no experiment"):
            find_experiment(finished, 1, wrong)


def test_the_command_line_lists_shows_replays_and_explains(finished_run):
    done = asked("decision", "list", finished_run)
    assert done.exit_code == 0, done.output
    assert "space_filling" in done.output
    done = asked("decision", "show", 5, finished_run)
    assert "nearly chosen" in done.output
    done = asked("decision", "replay", 5, finished_run)
    assert done.exit_code == 0, done.output
    assert "the same" in done.output
    assert "to the last bit" in done.output
    told = json.loads(asked("decision", "replay", 5, finished_run, "--json").stdout)
    assert (told["same"], told["bit_equal"], told["differences"]) == (True, True, [])
    done = asked("explain", 9, finished_run)
    assert done.exit_code == 0, done.output
    for words in ("Chosen in round", "nearly chosen instead", "its life"):
        assert words in done.output
    assert json.loads(asked("explain", 9, finished_run, "--json").stdout)["experiment"] == 9
