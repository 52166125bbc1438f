"""Several labs that measure the same property, some of which only hint at it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from cloudseed.errors import SpecError
from cloudseed.lab_adapters import Measurement, Outcome, OutcomeKind
from cloudseed.loop import Workspace, archiving, exporting, planning, reencoding, reporting
from cloudseed.loop.planning import situation
from cloudseed.loop.results import ranked, that_count
from cloudseed.loop.spec import validate_spec
from cloudseed.loop.stopping import stop_reason
from cloudseed.loop.tracking import Tracker
from cloudseed.surrogate import Choice, Observations, Scores, decide, parse_problem
from tests.loop.labs import modulus
from tests.loop.small import features_of
from tests.loop.test_engine import NamedLab, labs_spec, two_labs  # noqa: F401  a fixture

LABS = [
    {"adapter": "table", "name": "dear", "costs": {"money": "10 EUR"}, "fidelity": "dear"},
    {"adapter": "table", "name": "cheap", "costs": {"money": "2 EUR"}, "fidelity": "cheap"},
]


def shifted(request):
    """What a cheap lab says of `modulus`: too much by half."""
    true = modulus(request)
    rows = [
        Measurement(m.property, 1.5 * m.value, m.unit, m.sigma)
        if m.property == "bulk_modulus"
        else m
        for m in true.measurements
    ]
    return Outcome(OutcomeKind.MEASURED, tuple(rows), cell=request.cell)


def hinting(experiments):
    """Returns a campaign of so many experiments, a dear lab and a cheap one that says too much."""
    labs = [LABS[0], LABS[1] | {"in_flight": 1}]
    asked = {"initial": 8, "batch": 3, "budget": {"experiments": experiments}, "constraints": []}
    cheap = NamedLab("cheap")
    cheap.answer = shifted
    return labs_spec(labs=labs, **asked), NamedLab("dear"), cheap


def test_cheap_values_teach_a_campaign_and_do_not_count(two_labs, ledger):  # noqa: F811
    spec, dear, cheap = hinting(14)
    with two_labs(dear, cheap, spec) as campaign:
        end = campaign.run()
        pool = campaign.context.pool
    assert cheap.runs
    assert dear.runs
    last = ledger.decisions(1)[-1]
    told = last.model["surrogates"]["bulk_modulus"]
    assert told["kind"] == "fidelities"
    assert sum(told["values"]) == told["values"][0] + told["values"][1]
    counted = that_count(end.results, spec.sources)
    assert {r.experiment.lab for r in counted} == {"dear"}
    best = max(v for r in counted if (v := r.value("bulk_modulus")) is not None)
    assert end.best.value("bulk_modulus") == best
    assert end.prospective["bulk_modulus"].count <= len(counted)
    assert Tracker(ledger, campaign.context.campaign, spec).track(end).reached[-1] == best
    state = situation(ledger, 1, pool, spec.problem, spec.sources)
    by_lab = [e.lab for e in ledger.experiments(1) if e.state.value == "measured"]
    assert state.observations.source.tolist() == [int(lab == "cheap") for lab in by_lab]
    assert situation(ledger, 1, pool, spec.problem).observations.source is None


def test_what_hints_changes_the_choice():
    rng = np.random.default_rng(0)
    x = rng.random((60, 3)).astype(np.float32)
    truth = np.sin(4 * x[:, 0]) + x[:, 1] ** 2
    rows = np.arange(30)
    source = (rows >= 6).astype(np.int64)
    values = np.where(source == 1, -5.0 + 0.5 * truth[:30], truth[:30])[:, None]
    goal = parse_problem("max a", [])
    asked = {"available": np.arange(30, 60), "problem": goal, "batch": 1, "seed": 0}
    mixed = decide(x, Observations(rows, values, ("a",), source=source), **asked)
    naive = decide(x, Observations(rows, values, ("a",)), **asked)
    assert mixed.model["surrogates"]["a"]["values"] == [6, 24]
    place = {row: i for i, row in enumerate(mixed.scores.rows.tolist())}
    means = mixed.scores.mean[[place[r] for r in range(30, 60)], 0]
    assert np.abs(means - truth[30:]).mean() < 0.3
    place = {row: i for i, row in enumerate(naive.scores.rows.tolist())}
    means = naive.scores.mean[[place[r] for r in range(30, 60)], 0]
    assert np.abs(means - truth[30:]).mean() > 1.0


@pytest.mark.parametrize("fidelities", [("dear", None), ("cheap", "cheap"), (None, "cheap")])
def test_it_is_said_of_each_lab_and_one_is_dear(fidelities):
    labs = [
        {k: v for k, v in lab.items() if k != "fidelity"} | ({"fidelity": f} if f else {})
        for lab, f in zip(LABS, fidelities, strict=True)
    ]
    values = labs_spec().model_dump(mode="json") | {"labs": labs}
    with pytest.raises(SpecError, match="one of them is dear"):
        validate_spec(values, "a test")
    assert labs_spec().sources is None


@pytest.fixture
def hinted(two_labs, ledger, tmp_path, monkeypatch):  # noqa: F811
    """A finished campaign whose cheap lab says half as much again; with spec and run folder."""
    spec, dear, cheap = hinting(16)
    with two_labs(dear, cheap, spec) as campaign:
        end = campaign.run()
    rows = ledger.candidates(1)
    ledger.put_embeddings("test-encoder", [r.scope for r in rows], features_of(rows))

    @contextmanager
    def reading(_):
        yield ledger

    for module in (archiving, exporting, reporting, reencoding):
        monkeypatch.setattr(module, "reading", reading)
    values = {True: [], False: []}
    for result in end.results:
        if result.measured:
            values[result.experiment.lab == "dear"].append(result.value("bulk_modulus"))
    assert max(values[False]) > max(values[True])
    return spec, end, Workspace(tmp_path, "small", "")


def stopping_by(spec, **rules):
    values = {"budget": {"experiments": 999}, "stop": rules}
    return validate_spec(spec.model_dump(mode="json") | values, "a test")


def test_hints_reach_no_target_and_end_no_patience(hinted):
    spec, end, _ = hinted
    count = that_count(end.results, spec.sources)
    best = max(r.value("bulk_modulus") for r in count if r.measured)
    above, reached = stopping_by(spec, target=best + 1), stopping_by(spec, target=best)
    assert stop_reason(above, end) is None
    assert "target" in stop_reason(reached, end)
    top = next(r for r in count if r.value("bulk_modulus") == best)
    later = len({r.step for r in count if r.step > top.step})
    patient = stopping_by(spec, no_improvement_rounds=later + 1)
    assert stop_reason(patient, end) is None
    if later:
        impatient = stopping_by(spec, no_improvement_rounds=later)
        assert "nothing better" in stop_reason(impatient, end)


def test_hints_are_no_hits_that_keep_a_campaign_going(hinted):
    _, end, _ = hinted
    spec = labs_spec(
        labs=LABS,
        objective="find all",
        constraints=["bulk_modulus >= 1"],
        budget={"experiments": 999},
        stop={"expected_hits": {"below": 0.5, "next": 1}},
    )
    results = [
        replace(r, feasible=r.experiment.lab == "cheap", step=i)
        for i, r in enumerate(r for r in end.results if r.measured)
    ]
    outlooks = {r.step: {"expected_hits": 0.1} for r in results}
    now = replace(end, results=results, outlooks=outlooks)
    assert "further hits are expected" in stop_reason(spec, now)


def test_the_outlook_is_on_the_best_that_counts():
    spec = labs_spec(labs=LABS, constraints=[], stop={"regret": {"epsilon": 0.0}})
    names = ("bulk_modulus",)
    scores = Scores(
        np.array([3]), np.array([[5.0]]), np.array([[1.0]]), np.zeros(1), np.ones(1), names
    )
    choice = Choice((3,), scores, "LogNEI", {"surrogates": {"bulk_modulus": {}}})
    rows, values = np.arange(3), np.array([[4.0], [4.5], [99.0]])
    known = Observations(rows, values, names, source=np.array([0, 0, 1]))
    found = planning._outlook(spec, choice, known)["outlook"]["probability_of_best"]
    assert found == pytest.approx(0.309, abs=1e-3)


def test_the_report_counts_what_counts_and_lists_the_rest(hinted, tmp_path):
    spec, end, workspace = hinted
    count = that_count(end.results, spec.sources)
    best = max(r.value("bulk_modulus") for r in count if r.measured)
    body = reporting.write_report(workspace, None).read_text()
    body = body[body.rindex("</script>") - 200_000 :]
    table = body[body.index("What was found") : body.index("What the model would look at next")]
    lines = re.findall(r"<tr class=.*?</tr>", table)
    assert len(lines) == sum(bool(r.measured) for r in end.results)
    labs = [("cheap" if "<td>cheap</td>" in line else "dear") for line in lines]
    assert labs == sorted(labs, reverse=True)
    assert [("<td>hint</td>" in line) for line in lines] == [lab == "cheap" for lab in labs]
    winners = body[body.index("Structures of the winners") :]
    told = [float(v) for v in re.findall(r"<summary>.*?GPa\)? ([0-9.]+)", winners)]
    assert told
    assert max(told) == pytest.approx(best, rel=1e-3)
    reporting.write_results(workspace)
    ranks = (tmp_path / "ranked.csv").read_text().splitlines()
    assert len(ranks) - 1 == sum(bool(r.measured) for r in count)


def test_exports_put_first_what_counts(hinted, tmp_path):
    spec, end, workspace = hinted
    labs = [r.experiment.lab for r in ranked(end.results, spec.problem, spec.sources)]
    assert labs == sorted(labs, reverse=True)
    assert {"dear", "cheap"} == set(labs)
    total = exporting.export_cifs(workspace, tmp_path / "cifs")
    assert total == len(labs)
    rows = exporting.export_csv(workspace).splitlines()
    assert sum(",cheap," in row for row in rows) == labs.count("cheap")
    reencoding.write_labels(workspace, tmp_path / "labels.csv")
    taught = (tmp_path / "labels.csv").read_text().splitlines()[1:]
    assert len(taught) == labs.count("dear")
