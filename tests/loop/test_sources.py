"""Several labs that measure the same property, some of which only hint at it."""

from __future__ import annotations

import numpy as np
import pytest

from cloudseed.errors import SpecError
from cloudseed.lab_adapters import Measurement, Outcome, OutcomeKind
from cloudseed.loop.planning import situation
from cloudseed.loop.results import that_count
from cloudseed.loop.spec import validate_spec
from cloudseed.loop.tracking import Tracker
from cloudseed.surrogate import Observations, decide, parse_problem
from tests.loop.labs import modulus
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


def test_cheap_values_teach_a_campaign_and_do_not_count(two_labs, ledger):  # noqa: F811
    spec = labs_spec(
        labs=[LABS[0], LABS[1] | {"in_flight": 1}],
        initial=8,
        batch=3,
        budget={"experiments": 14},
        constraints=[],
    )
    dear, cheap = NamedLab("dear"), NamedLab("cheap")
    cheap.answer = shifted
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
