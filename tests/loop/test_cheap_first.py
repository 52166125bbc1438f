"""Campaigns that ask a cheap lab first: on two tables, from the first decision to the report."""

from __future__ import annotations

import csv
import io
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest

from cloudseed.db import ExperimentState, Spending
from cloudseed.errors import UnitError
from cloudseed.lab_adapters import FailureKind, Outcome, OutcomeKind, Validation, load_lab
from cloudseed.loop import Workspace, collecting, dispatching, exporting, patience, reporting
from cloudseed.loop import campaign as module
from cloudseed.loop.budgets import hint_price
from cloudseed.loop.decided import show_decision
from cloudseed.loop.replaying import Replayer
from tests.loop import recorded
from tests.loop.labs import modulus
from tests.loop.small import spec_of
from tests.loop.test_engine import NamedLab

S = ExperimentState
CANDIDATES = 40


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    monkeypatch.setattr(collecting, "RETRY_PAUSE", 0.0)


@pytest.fixture
def made(generation):
    """Forty candidates."""
    return replace(generation, proposals=generation.proposals[:CANDIDATES])


def hinted_spec(**changes):
    labs = [
        {"adapter": "table", "name": "dear", "costs": {"money": "10 EUR"}, "fidelity": "dear"},
        {"adapter": "table", "name": "cheap", "costs": {"money": "1 EUR"}, "fidelity": "cheap"},
    ]
    values = {
        "labs": labs,
        "constraints": [],
        "initial": 6,
        "batch": 4,
        "in_flight": 4,
        "budget": {"experiments": 34},
    }
    return spec_of(**(values | changes))


@pytest.fixture
def tables(tmp_path, made):
    """Two labs that look values up: the cheap one says half as much again, and a little wrong."""
    paths = {}
    for name in ("dear", "cheap"):
        path = paths[name] = tmp_path / f"{name}.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["key", "bulk_modulus", "formation_energy"])
            for number, proposal in enumerate(made.proposals):
                candidate = proposal.kept.candidate
                codes = [sum(map(ord, s)) % 40 for s in candidate.crystal.colouring]
                true = 60.0 + 4.0 * sum(codes) / len(codes) + 0.5 * codes[0]
                value = true if name == "dear" else 1.5 * true + number % 3
                rows.writerow([candidate.key, value, -3.0])
    return {
        name: load_lab(
            "table",
            {"path": str(path), "column": "key", "match": "candidate", "concurrency": 2},
            tmp_path / f"lab-{name}",
        )
        for name, path in paths.items()
    }


@pytest.fixture
def on_labs(ledger, made):
    """Opens a campaign on a dear and a cheap lab; opened again, it resumes."""

    @contextmanager
    def start(spec, dear, cheap):
        with recorded.opened(ledger, spec, dear, made) as campaign:
            campaign.context = replace(campaign.context, label="dear", others={"cheap": cheap})
            yield campaign

    return start


@pytest.fixture
def on_tables(tables, on_labs):
    """Opens a campaign on the two tables."""
    return lambda spec: on_labs(spec, tables["dear"], tables["cheap"])


def held(ledger, spec):
    """Checks what must hold whatever happened; returns measured candidates by lab."""
    rows = ledger.experiments(1)
    live = [e for e in rows if e.state not in {S.CANCELLED, S.FAILED, S.REFUSED}]
    assert max(Counter((e.candidate_id, e.lab) for e in live).values()) == 1
    for decision in ledger.decisions(1):
        asked = [e for e in rows if e.decision_id == decision.id]
        assert [int(e.lab == "cheap") for e in asked] == decision.model["sources"]
        assert not {e.candidate_id for e in asked} & set(decision.pending)
    done = [e for e in rows if e.state is S.MEASURED]
    assert ledger.verify() == []
    found = {"dear": set(), "cheap": set()}
    for e in done:
        found[e.lab].add(e.candidate_id)
    replayer = Replayer(ledger, ledger.campaign(spec.name), spec)
    again = [replayer.replay(d) for d in ledger.decisions(1)]
    assert not [r.differences for r in again if r.differences]
    assert all(r.same for r in again)
    assert any(r.scores_compared for r in again)
    return found


def test_the_dear_lab_makes_again_what_the_cheap_one_measured(on_tables, ledger):
    spec = hinted_spec()
    with on_tables(spec) as campaign:
        end = campaign.run()
    assert (end.status, end.measured, end.unsuccessful) == ("finished", 34, 0)
    found = held(ledger, spec)
    assert found["dear"] & found["cheap"]
    modelled = [d for d in ledger.decisions(1) if d.model.get("surrogates")]
    assert {s for d in modelled for s in d.model["sources"]} == {0, 1}
    assert modelled[-1].model["surrogates"]["bulk_modulus"]["kind"] == "fidelities"
    dear, cheap = len(found["dear"]), len(found["cheap"])
    assert end.spending["money"] == Spending("EUR", 10.0 * dear + cheap, 0.0)
    assert end.best.experiment.lab == "dear"
    shown = show_decision(ledger, 1, ledger.decisions(1)[1])
    assert {p.to_json()["lab"] for p in shown.chosen} == {"dear", "cheap"}


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("point", ["submit.before", "submit.after"])
def test_killed_and_resumed_it_keeps_to_its_labs(on_tables, ledger, monkeypatch, point):
    spec = hinted_spec(budget={"experiments": 20})
    passed = 0

    def dies(name):
        nonlocal passed
        passed += name == point
        if name == point and passed % 5 == 0:
            raise KilledError

    monkeypatch.setattr(dispatching, "passing", dies)
    kills = 0
    for _ in range(20):
        try:
            with on_tables(spec) as campaign:
                end = campaign.run()
            break
        except KilledError:
            kills += 1
    assert kills >= 3
    assert (end.status, end.measured) == ("finished", 20)
    found = held(ledger, spec)
    assert found["dear"] & found["cheap"]


def test_a_small_pool_is_used_up_in_the_dear_lab(on_tables, ledger, made):
    spec = hinted_spec(budget={"experiments": 500})
    with on_tables(spec) as campaign:
        end = campaign.run()
    assert end.stop_reason == "every candidate has been tried"
    assert len(held(ledger, spec)["dear"]) == CANDIDATES


def test_without_money_for_the_cheap_lab_the_dear_one_goes_on(on_tables, ledger):
    labs = [lab.model_dump() for lab in hinted_spec().labs]
    labs[0]["costs"] = {"money": "10 EUR", "cells": "0 cells"}
    labs[1]["costs"] = {"money": "1 EUR", "cells": "1 cells"}
    budget = {"experiments": 16, "consumables": {"cells": "6 cells"}}
    spec = hinted_spec(labs=labs, budget=budget)
    with on_tables(spec) as campaign:
        end = campaign.run()
    assert (end.status, end.measured) == ("finished", 16)
    found = held(ledger, spec)
    assert (len(found["cheap"]), len(found["dear"])) == (6, 10)
    assert ledger.decisions(1)[-1].model["replay"]["arguments"]["price"] is None


def test_while_no_cheap_lab_answers_the_dear_one_goes_on(on_labs, ledger, monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE", 1000.0)
    dear, cheap = NamedLab("dear"), NamedLab("cheap", away=True)
    spec = hinted_spec(budget={"experiments": 12})
    with on_labs(spec, dear, cheap) as campaign:
        for _ in range(60):
            campaign.step()
            if campaign.snapshot().measured >= 8:
                break
        rows = ledger.experiments(1)
        assert {e.lab for e in rows if e.state is S.MEASURED} == {"dear"}
        assert "no cheap lab answers" in {e.reason for e in rows}
        cheap.away = False
        ledger.record_health(campaign.context.claim, "cheap", failures=0)
        end = campaign.run()
    assert (end.status, end.measured) == ("finished", 12)
    assert held(ledger, spec)["cheap"]


def test_without_money_for_the_dear_lab_it_ends(on_tables, ledger):
    spec = hinted_spec(budget={"experiments": 500, "money": "60 EUR"})
    with on_tables(spec) as campaign:
        end = campaign.run()
    assert end.status == "finished"
    assert "money budget of 60 EUR is spent" in end.stop_reason
    assert 50 < end.spending["money"].settled <= 60
    held(ledger, spec)


class Choosy(NamedLab):
    """A cheap lab that will not do every third candidate."""

    def validate(self, request):
        fine = sum(map(ord, request.candidate)) % 3 > 0
        kind = None if fine else FailureKind.REJECTED_CAPABILITY
        return Validation(fine, () if fine else ("no potential for it",), failure=kind)


def test_what_a_cheap_lab_will_not_do_is_left_to_the_dear_one(on_labs, ledger):
    dear, cheap = NamedLab("dear"), Choosy("cheap")
    spec = hinted_spec(budget={"experiments": 24, "unsuccessful": 0})
    with on_labs(spec, dear, cheap) as campaign:
        end = campaign.run()
    refused = {e.candidate_id for e in ledger.experiments(1, [S.REFUSED])}
    assert refused
    assert (end.measured, end.unsuccessful) == (24, 0)
    assert "makeable" not in ledger.decisions(1)[-1].model
    found = held(ledger, spec)
    assert found["dear"] & refused


def test_what_cannot_be_made_goes_to_no_lab(on_labs, ledger):
    dear, cheap = NamedLab("dear"), NamedLab("cheap")

    def falls_apart(request):
        if sum(map(ord, request.candidate)) % 3:
            return modulus(request)
        return Outcome(OutcomeKind.INFEASIBLE, reason="it fell apart")

    cheap.answer = falls_apart
    spec = hinted_spec(budget={"experiments": 24})
    with on_labs(spec, dear, cheap) as campaign:
        campaign.run()
    bad = {e.candidate_id for e in ledger.experiments(1, [S.INFEASIBLE])}
    assert bad
    assert not bad & held(ledger, spec)["dear"]


def test_the_report_and_exports_show_both_values(on_tables, ledger, tmp_path, monkeypatch):
    spec = hinted_spec(budget={"experiments": 24})
    with on_tables(spec) as campaign:
        campaign.run()
    both = held(ledger, spec)
    twice = both["dear"] & both["cheap"]

    @contextmanager
    def reading(_):
        yield ledger

    for part in (exporting, reporting):
        monkeypatch.setattr(part, "reading", reading)
    workspace = Workspace(tmp_path, "small", "")
    rows = list(csv.DictReader(io.StringIO(exporting.export_csv(workspace))))
    keys = {row.key for row in ledger.candidates(1) if row.id in twice}
    labs = {key: sorted(r["lab"] for r in rows if r["key"] == key) for key in keys}
    assert set(map(tuple, labs.values())) == {("cheap", "dear")}
    html = reporting.write_report(workspace, None).read_text()
    table = html[html.index("What was found") : html.index("Structures of the winners")]
    assert table.count("<td>dear</td>") == len(both["dear"])
    assert table.count("<td>cheap</td>") == len(both["cheap"])


@pytest.mark.parametrize(
    ("dear", "cheap", "price"),
    [
        ({"money": "10 EUR"}, {"money": "1 EUR"}, 0.1),
        ({"money": "10 EUR"}, {}, 0.0),
        ({}, {}, 0.0),
        ({"instrument_time": "2 h"}, {"instrument_time": "30 min"}, 0.25),
        ({}, {"money": "1 EUR"}, 0.0),
    ],
)
def test_the_price_is_that_of_the_labs(dear, cheap, price):
    labs = [lab.model_dump() for lab in hinted_spec().labs]
    labs[0]["costs"], labs[1]["costs"] = dear, cheap
    assert hint_price(hinted_spec(labs=labs), {}) == pytest.approx(price)
    plain = [lab | {"fidelity": None} for lab in labs]
    assert hint_price(hinted_spec(labs=plain), {}) is None


def test_prices_that_cannot_be_compared_are_refused():
    labs = [lab.model_dump() for lab in hinted_spec().labs]
    labs[1]["costs"] = {"money": "1 USD"}
    with pytest.raises(UnitError):
        hint_price(hinted_spec(labs=labs), {})
