"""Results can be taken back and corrected; what was made on them is marked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.db import ExperimentState, NewMeasurement
from cloudseed.errors import TransitionError, UnitError, UsageError
from cloudseed.loop.amending import Correction, correct, retract
from cloudseed.loop.decided import list_decisions, show_decision
from cloudseed.loop.explaining import explain_experiment
from cloudseed.loop.replaying import Replayer
from cloudseed.loop.snapshot import take_snapshot
from tests.loop.labs import InstantLab, modulus
from tests.loop.recorded import SPEC, opened, spec_of

S = ExperimentState


@pytest.fixture
def covered(either, generation):
    """A stopped campaign: four results, and a decision on them that waits to be sent."""
    spec = spec_of(initial=100)
    with opened(either, spec, InstantLab(modulus), generation) as campaign:
        while len(either.decisions(1)) < 3:
            campaign.step()
    return either


def of(ledger, number):
    return next(e for e in ledger.experiments(1) if e.id == number)


def test_a_retracted_result_is_dropped_and_its_decisions_are_marked(covered):
    before = covered.measurements(1)
    done = retract(covered, 1, of(covered, 1), "the wrong  sample\n(by ada)")
    assert (done.settled, done.rounds) == (True, (2, 3))
    assert of(covered, 1).state is S.RETRACTED
    assert {m.experiment_id for m in covered.measurements(1)} == {
        m.experiment_id for m in before
    } - {1}
    assert {a.reason for a in covered.amendments(1)} == {"the wrong sample (by ada)"}
    told = [line["doubts"] for line in list_decisions(covered, 1)]
    assert [len(line) for line in told] == [0, 1, 1]
    assert "was retracted on" in told[1][0]
    assert covered.verify() == []


def test_a_correction_replaces_a_value_and_keeps_the_old_one(covered):
    old = {m.property: m for m in covered.measurements(1) if m.experiment_id == 1}
    values = {"formation_energy": (-2500.0, "meV/atom", 20.0)}
    done = correct(covered, 1, of(covered, 1), values, "recalibrated")
    assert (done.settled, done.rounds) == (True, (2, 3))
    new = {m.property: m for m in covered.measurements(1) if m.experiment_id == 1}
    assert new["bulk_modulus"] == old["bulk_modulus"]
    assert new["formation_energy"].value == pytest.approx(-2.5)
    assert new["formation_energy"].sigma == pytest.approx(0.02)
    (row,) = covered.amendments(1)
    assert row.measurement_id == old["formation_energy"].id
    assert row.replaced_by == new["formation_energy"].id
    assert covered.measured([old["formation_energy"].id]) == [old["formation_energy"]]
    assert of(covered, 1).state is S.MEASURED
    kinds = [e.kind for e in covered.events_of(1)]
    assert kinds.count("decision_marked") == 2
    again = correct(covered, 1, of(covered, 1), {"formation_energy": (-2.6, None, None)}, "again")
    assert again.rounds == ()
    assert covered.verify() == []


def test_what_a_decision_expected_of_values_that_do_not_stand_is_passed_over(covered, monkeypatch):
    made = covered.decisions(1)
    told = [replace(d, model={**d.model, "outlook": {"expected_hits": d.step}}) for d in made]
    monkeypatch.setattr(covered, "decisions", lambda _: told)
    row = covered.campaign("small")
    before = take_snapshot(covered, row, SPEC)
    assert (before.doubted, before.to_json()["outlook"]) == (frozenset(), {"expected_hits": 2})
    correct(covered, 1, of(covered, 1), {"bulk_modulus": (9.0, None, None)}, "recalibrated")
    after = take_snapshot(covered, row, SPEC)
    assert (after.doubted, after.to_json()["outlook"]) == ({1, 2}, {"expected_hits": 0})


def test_a_running_engine_takes_it_up(either, generation):
    with opened(either, spec_of(initial=100), InstantLab(modulus), generation) as campaign:
        while not either.measurements(1):
            campaign.step()
        done = retract(either, 1, of(either, 1), "contaminated")
        assert not done.settled
        assert of(either, 1).state is S.MEASURED
        later = correct(either, 1, of(either, 2), {"bulk_modulus": (99.0, None, None)}, "units")
        assert not later.settled
        campaign.step()
        assert of(either, 1).state is S.RETRACTED
        values = {(m.experiment_id, m.property): m.value for m in either.measurements(1)}
        assert values[2, "bulk_modulus"] == 99.0
        assert (1, "bulk_modulus") not in values


@pytest.mark.parametrize(
    ("values", "reason", "error", "words"),
    [
        ({"band_gap": (1.0, None, None)}, "why", UsageError, "no measurement of band_gap"),
        ({"bulk_modulus": (1.0, "eV", None)}, "why", UnitError, "converted"),
        ({"bulk_modulus": (float("nan"), None, None)}, "why", UsageError, "no measurement"),
        ({"bulk_modulus": (1.0, None, -1.0)}, "why", UsageError, "no measurement"),
        ({"bulk_modulus": (1.0, None, None)}, " ", UsageError, "reason is missing"),
        ({}, "why", UsageError, "no value"),
    ],
)
def test_what_cannot_be_meant_is_refused(finished, values, reason, error, words):
    ran = finished.experiments(1, [S.MEASURED])[0]
    with pytest.raises(error, match=words):
        correct(finished, 1, ran, values, reason)
    assert finished.unprocessed(1) == []


def test_what_has_no_result_cannot_be_taken_back(covered):
    waiting = covered.experiments(1)[-1]
    with pytest.raises(TransitionError, match="nothing to retract"):
        retract(covered, 1, waiting, "why")
    with pytest.raises(TransitionError, match="nothing to correct"):
        correct(covered, 1, waiting, {"bulk_modulus": (1.0, None, None)}, "why")


def test_a_correction_that_comes_too_late_is_only_read(covered):
    first = of(covered, 1)
    message = Correction((NewMeasurement("bulk_modulus", 1.0, "GPa"),), "late")
    retract(covered, 1, first, "gone")
    inbox_id = covered.tell(1, "m", first.idem_key, message.to_json())
    with covered.claim(1) as claim:
        covered.correct(claim, inbox_id, message.measurements, message.reason)
        covered.correct(claim, inbox_id, message.measurements, message.reason)
    assert covered.events_of(1)[-1].data["outcome"] == "late"
    assert covered.unprocessed(1) == []
    assert not any(m.experiment_id == 1 for m in covered.measurements(1))


def test_no_other_message_is_a_correction():
    assert Correction.read(b'{"kind": "measured"}') is None
    assert Correction.read(b'"cloudseed correction 1') is None
    assert Correction.read(b'{"kind": "cloudseed correction 1", "measurements": 3}') is None
    made = Correction((NewMeasurement("band_gap", 1.0, "eV", 0.1, "x"),), "why")
    assert Correction.read(made.to_json()) == made


def test_a_replay_of_what_was_retracted_is_the_same_and_says_so(finished):
    ran = finished.experiments(1, [S.MEASURED])[0]
    retract(finished, 1, ran, "wrong sample")
    decision = finished.decisions(1)[-1]
    again = Replayer(finished, finished.campaign("small"), SPEC).replay(decision)
    assert again.same
    assert again.bit_equal
    assert any("wrong sample" in line for line in again.doubts)
    assert show_decision(finished, 1, decision).doubts == again.doubts
    told = explain_experiment(finished, finished.campaigns()[0], of(finished, ran.id))
    assert told.amendments
    assert decision.step + 1 in told.later


def test_the_command_line_retracts_and_corrects(finished_run, finished):
    first, second = finished.experiments(1, [S.MEASURED])[:2]

    def asked(*words):
        return CliRunner().invoke(app, ["experiments", *map(str, words)])

    done = asked("retract", first.id, finished_run, "--reason", "wrong sample", "--by", "ada")
    assert done.exit_code == 0, done.output
    assert "is retracted" in done.output
    assert "marked: round" in done.output
    done = asked(
        *("correct", second.id, finished_run, "--value", "bulk_modulus=80 GPa", "--sigma"),
        *("bulk_modulus=2", "--reason", "recalibrated", "--json"),
    )
    assert json.loads(done.stdout)["settled"] is True
    reasons = {a.reason for a in finished.amendments(1)}
    assert "wrong sample (by ada)" in reasons
    for words in (["--value", "x"], ["--value", "x=one"], ["--value", "x=1", "--sigma", "y=2"]):
        assert asked("correct", second.id, finished_run, *words, "--reason", "r").exit_code != 0
