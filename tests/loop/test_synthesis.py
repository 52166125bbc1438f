"""Recipes in a campaign: compiled, approved, printed, sent, and refused where there is none."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import Counter
from dataclasses import replace

import pytest
import yaml

from cloudseed.db import ExperimentState
from cloudseed.errors import InputError, SpecError
from cloudseed.lab_adapters import (
    ExperimentRequest,
    FailureKind,
    Precursor,
    load_lab,
    recipe_hash,
)
from cloudseed.lab_adapters.recipes import Shelf, check_searchable, less, routes, weighed
from cloudseed.loop import dispatching
from cloudseed.loop.effects import failures_of, teaches
from cloudseed.loop.laboratories import check_labs
from cloudseed.loop.proposing import propose_from
from cloudseed.loop.recipe import Recipe
from cloudseed.loop.safety.approvals import answer, open_questions
from cloudseed.loop.spec import load_spec
from cloudseed.loop.synthesis import Used
from cloudseed.proposers import load_parents
from tests.lab_adapters.gateways import SECRET, VARIABLE, client, serving
from tests.lab_adapters.operators import _publish
from tests.loop.conftest import PARENTS, spec_of
from tests.loop.labs import InstantLab
from tests.safety.kit import RealLab, checks, experiments, planned, state, verdicts

SHELF = {
    "precursors": [
        {"formula": "SrCO3", "assay": 0.99, "price": 0.1},
        {"formula": "BaCO3", "price": 0.1},
        {"formula": "CaCO3", "price": 0.1},
        {"formula": "TiO2", "price": 0.2},
        {"formula": "ZrO2", "price": 0.2},
    ],
    "gases": ["air"],
}
MAKEABLE = {"SrTiO3", "BaTiO3", "CaTiO3", "SrZrO3"}
UNITS = {"bulk_modulus": "GPa", "formation_energy": "eV/atom"}


@pytest.fixture(scope="module")
def generation():
    """Eight candidates, four of which can be made from the shelf."""
    few = spec_of(proposer={"per_parent": 6}, quotas={"top": 8})
    return propose_from(Recipe.of(few), load_parents([PARENTS]), dialect="cloud")


def spec_with(recipes=None, **changes):
    values = {"batch": 1, "in_flight": 1, "safety": {"forbidden": []}, "attempts": 1}
    recipes = {"shelf": SHELF, "mass": "2 g"} if recipes is None else recipes
    return spec_of(**values | {"lab": {"recipes": recipes}} | changes)


def people(tmp_path, **more):
    config = {"properties": UNITS, "concurrency": 1, **more}
    return load_lab("human", config, tmp_path / "people")


def fill_in(folder):
    """Answers what lies in the folder as a chemist would; returns the sheets, by job."""
    sheets = {}
    for sheet in sorted((folder / "orders").glob("*.html")):
        form = sheet.with_suffix(".csv")
        with form.open(newline="") as stream:
            (row,) = csv.DictReader(stream)
        sheets[form.stem] = sheet.read_text()
        sheet.unlink()
        form.unlink()
        row |= {"bulk_modulus [GPa]": "170", "formation_energy [eV/atom]": "-3.1"}
        _publish(folder, form.stem, row)
    return sheets


def approve_all(ledger):
    """Gives each approval that is asked for; returns what was asked."""
    asked = open_questions(ledger, 1)
    for question in asked:
        answer(ledger, 1, question.sha, word="given", by="Ada", reason="looked at it")
    return asked


def drive(campaign, ledger, folder):
    """Steps a campaign on people until nothing is left to plan; returns sheets and questions."""
    sheets, asked = {}, []
    for _ in range(80):
        campaign.step()
        asked += approve_all(ledger)
        sheets |= fill_in(folder)
        ended = [e for e in experiments(campaign) if e.state.terminal]
        if len(ended) == 8:
            return sheets, asked
    raise AssertionError([e.state for e in experiments(campaign)])


def check_end(ledger, sheets, asked):
    """What can be made was made by approved recipes that people saw; the rest was refused."""
    ran = ledger.experiments(1)
    done = {e.request["label"]: e for e in ran if e.state is ExperimentState.MEASURED}
    assert set(done) == MAKEABLE
    assert len(sheets) == len(MAKEABLE)
    assert {q.label for q in asked} == MAKEABLE
    by_label = {q.label: q for q in asked}
    failures = failures_of(ledger, 1)
    for label, experiment in done.items():
        (best,) = routes(label, Shelf.model_validate(SHELF), 2.0, top=1)
        assert experiment.request["recipe"] == by_label[label].recipe == best.recipe()
        (sheet,) = [s for s in sheets.values() if f"<h1>{label}</h1>" in s]
        assert recipe_hash(best.recipe()) in sheet
        for each in best.precursors:
            assert f"<td>{each.formula}</td><td>{each.grams}</td>" in sheet
        assert f"{best.heating.temperature:g} K (1100 degC), ramp 5.0 K/min, hours 12.0 h" in sheet
    for experiment in ran:
        if experiment.request["label"] in MAKEABLE:
            continue
        assert experiment.state is ExperimentState.REFUSED
        assert f"no balanced route to {experiment.request['label']}" in experiment.reason
        assert experiment.attempt == 0
        assert failures[experiment.id] == (FailureKind.REJECTED_CAPABILITY,)
        assert not teaches(experiment.state, failures[experiment.id])
    assert ledger.verify() == []


def test_people_get_the_recipes_that_were_approved(campaign_on, ledger, tmp_path, generation):
    lab = people(tmp_path)
    with campaign_on(lab, spec_with(), generation) as campaign:
        sheets, asked = drive(campaign, ledger, lab.folder)
        check_end(ledger, sheets, asked)


def test_so_do_people_behind_a_gateway_who_keep_the_shelf_themselves(
    campaign_on, ledger, tmp_path, generation, monkeypatch
):
    monkeypatch.setenv(VARIABLE, SECRET)
    (shelf := tmp_path / "shelf.yaml").write_text(yaml.safe_dump(SHELF))
    lab = people(tmp_path, shelf=str(shelf))
    with serving(lab, tmp_path / "gateway") as url:
        far = client(url)
        assert {p.formula for p in far.describe().shelf} == {
            p["formula"] for p in SHELF["precursors"]
        }
        with campaign_on(far, spec_with({"mass": 2}), generation) as campaign:
            sheets, asked = drive(campaign, ledger, lab.folder)
            check_end(ledger, sheets, asked)
        far.close()


def test_an_approval_is_of_one_recipe(campaign_on, ledger, generation):
    """Another shelf after the approval makes another recipe, which waits again."""
    with campaign_on(lab := RealLab(recipe=None), spec_with(), generation) as campaign:
        while not open_questions(ledger, 1):
            campaign.step()
        (first,) = approve_all(ledger)
    impure = json.loads(json.dumps(SHELF))
    for each in impure["precursors"]:
        each["assay"] = 0.5
    edited = spec_with({"shelf": impure, "mass": "2 g"})
    with campaign_on(lab, edited, generation) as campaign:
        campaign.step()
        (second,) = open_questions(ledger, 1)
        assert second.experiment == first.experiment
        assert second.sha != first.sha
        assert "it has changed since it was approved" in second.reasons
        assert lab.submissions == 0
        approve_all(ledger)
        campaign.step()
    (sent,) = lab.requests.values()
    assert sent.recipe == second.recipe
    assert sum(p["grams"] for p in sent.recipe["precursors"]) > 4


def interrupted(campaign, ledger, monkeypatch):
    """Has the engine die between taking an approved experiment and sending it; returns it."""
    while not open_questions(ledger, 1):
        campaign.step()
    (asked,) = approve_all(ledger)

    def die(*_args, **_more):
        raise RuntimeError("The power went.")

    with monkeypatch.context() as patch:
        patch.setattr(dispatching, "changed_since", die)
        with pytest.raises(RuntimeError, match="power"):
            campaign.step()
    assert ledger.experiments_by_id([asked.experiment])[0].state is ExperimentState.SENDING
    return asked


@pytest.mark.parametrize("edit", ["hotter", "removed"])
def test_a_recipe_edited_in_the_ledger_before_it_is_sent_is_held_back(
    edit, campaign_on, ledger, tmp_path, generation, monkeypatch
):
    with campaign_on(lab := RealLab(recipe=None), spec_with(), generation) as campaign:
        asked = interrupted(campaign, ledger, monkeypatch)
    with sqlite3.connect(tmp_path / "ledger.db", timeout=10) as database:
        (raw,) = database.execute(
            "SELECT request FROM experiment WHERE id = ?", (asked.experiment,)
        ).fetchone()
        told = json.loads(raw)
        if edit == "hotter":
            told["recipe"]["steps"][1]["temperature"] = 1450.0
        else:
            del told["recipe"]
        database.execute(
            "UPDATE experiment SET request = ? WHERE id = ?", (json.dumps(told), asked.experiment)
        )
    database.close()
    with campaign_on(lab, spec_with(), generation) as campaign:
        campaign.step()
        assert ledger.experiments_by_id([asked.experiment])[0].state is ExperimentState.IN_DOUBT
    assert lab.submissions == 0
    (refused,) = [e.data for e in checks(ledger) if e.data["verdict"] == "refused"]
    assert refused["reasons"] == ["its request or recipe is no longer the one that was checked"]


def test_what_is_sent_after_a_crash_is_what_was_approved(
    campaign_on, ledger, generation, monkeypatch
):
    """Although the recipe would by now be another one."""
    with campaign_on(lab := RealLab(recipe=None), spec_with(), generation) as campaign:
        asked = interrupted(campaign, ledger, monkeypatch)
    now = spec_with({"shelf": SHELF, "mass": "3 g"})
    with campaign_on(lab, now, generation) as campaign:
        campaign.step()
    (sent,) = lab.requests.values()
    assert sent.label == asked.label
    assert sent.recipe == asked.recipe


def test_limits_hold_for_what_the_campaign_compiles(campaign_on, ledger, generation):
    safety = {"forbidden": [], "mass": "1 g"}
    with campaign_on(lab := RealLab(recipe=None), spec_with(safety=safety), generation) as campaign:
        while "refused" not in verdicts(ledger):
            campaign.step()
    assert "is above the limit of 1 g" in checks(ledger)[-1].data["reasons"][0]
    assert lab.submissions == 0
    refused = ledger.experiments(1, [ExperimentState.REFUSED])
    failures = failures_of(ledger, 1)
    assert failures[refused[-1].id] == (FailureKind.REJECTED_SAFETY,)


def with_titania(grams):
    shelf = json.loads(json.dumps(SHELF))
    shelf["precursors"][3]["grams"] = grams
    return shelf


def titania_in(lab):
    sent = [r.recipe for r in lab.requests.values()]
    return sum(p["grams"] for r in sent for p in r["precursors"] if p["formula"] == "TiO2")


def rest(campaign):
    """Steps a campaign until nothing moves any more; returns its experiments."""
    for _ in range(80):
        if not campaign.step():
            return experiments(campaign)
    raise AssertionError([e.state for e in experiments(campaign)])


def test_what_is_used_up_waits_and_all_else_is_made(campaign_on, ledger, generation):
    """Two grams of TiO2: 2 g of a titanate take 0.68 to 1.18 g."""
    spec = spec_with({"shelf": with_titania(2.0), "mass": "2 g"})
    with campaign_on(lab := InstantLab(), spec, generation) as campaign:
        end = campaign.run()
        ran = experiments(campaign)
        now = campaign.snapshot()
    assert 0 < titania_in(lab) <= 2.0
    waiting = [e for e in ran if e.state is ExperimentState.PLANNED]
    assert {e.request["label"] for e in ledger.experiments(1, [ExperimentState.PLANNED])} < MAKEABLE
    assert waiting
    failures = failures_of(ledger, 1)
    for experiment in waiting:
        assert experiment.reason.startswith("waits for the shelf: too little is left")
        assert "TiO2" in experiment.reason
        assert experiment.attempt == 0
        assert not teaches(experiment.state, failures.get(experiment.id, ()))
    # Nobody can refill a shelf that is part of the campaign.
    assert ledger.campaign("small").status == "stopped"
    assert end.status == "stopped"
    assert now.waiting.startswith("waits for the shelf: too little is left")
    told = Counter(e.state for e in ran)
    assert told[ExperimentState.MEASURED] == len(MAKEABLE) - len(waiting)
    assert told[ExperimentState.REFUSED] == 8 - len(MAKEABLE)
    assert ledger.verify() == []
    fuller = spec_with({"shelf": with_titania(9.0), "mass": "2 g"})
    with campaign_on(lab, fuller, generation) as campaign:
        assert campaign.run().status == "finished"
    assert {e.request["label"] for e in ledger.experiments(1, [ExperimentState.MEASURED])} == (
        MAKEABLE
    )


class Bottles(InstantLab):
    """Tells its own shelf, and counts it."""

    def __init__(self, shelf):
        super().__init__()
        self.shelf = shelf

    def describe(self):
        can = super().describe()
        if self.shelf is None:
            return replace(can, shelf=())
        left = less(Shelf.model_validate(self.shelf), {"TiO2": titania_in(self)})
        return replace(can, shelf=left.told, gases=left.gases)


def test_a_lab_that_counts_itself_may_be_refilled(campaign_on, ledger, generation):
    lab = Bottles(with_titania(1.5))
    with campaign_on(lab, spec_with({"mass": "2 g"}, in_flight=2), generation) as campaign:
        ran = rest(campaign)
        assert 0 < titania_in(lab) <= 1.5
        assert any(e.state is ExperimentState.PLANNED for e in ran)
        assert "too little is left on the shelf of instant" in campaign.snapshot().waiting
        lines = len(ledger.events(1))
        assert not campaign.step()
        assert len(ledger.events(1)) == lines
        lab.shelf = with_titania(9.0)
        assert all(e.state.terminal for e in rest(campaign))
    done = ledger.experiments(1, [ExperimentState.MEASURED])
    assert {e.request["label"] for e in done} == MAKEABLE


def test_a_lab_that_tells_no_shelf_any_more_is_left_alone_for_now(campaign_on, ledger, generation):
    lab = Bottles(SHELF)
    with campaign_on(lab, spec_with({"mass": "2 g"}), generation) as campaign:
        campaign.step()
        nothing, odd = None, (Precursor("Q"),)
        for shelf in (nothing, odd):
            lab.describe = lambda shelf=shelf: replace(
                InstantLab.describe(lab), shelf=shelf, gases=("air",)
            )
            done = len(lab.requests)
            for _ in range(3):
                campaign.step()
            assert len(lab.requests) == done
            assert any(e.state is ExperimentState.PLANNED for e in experiments(campaign))
            assert "for the lab instant to answer" in campaign.snapshot().waiting


def test_only_what_may_have_arrived_is_used(campaign_on, tmp_path, generation):
    """A sending that surely never arrived takes nothing; one to another lab is not this lab's."""
    spec = spec_with({"shelf": SHELF, "mass": "2 g"})
    with campaign_on(lab := InstantLab(), spec, generation) as campaign:
        while not lab.requests:
            campaign.step()
        context = campaign.context
        (sent,) = lab.requests.values()
        grams = weighed(sent.recipe)
        assert Used().of(context, "instant") == grams
        rest(campaign)
        total = sum((weighed(r.recipe) for r in lab.requests.values()), Counter())
        assert context.used.of(context, "instant") == pytest.approx(total)
        assert Used().of(context, "instant") == pytest.approx(total)
        assert Used().of(context, "elsewhere") == {}
        with sqlite3.connect(tmp_path / "ledger.db", timeout=10) as database:
            database.execute("UPDATE attempt SET handle = NULL WHERE id = 1")
        database.close()
        assert Used().of(context, "instant") == pytest.approx(total - grams)


def test_a_shelf_too_large_to_search_is_refused_at_once(tmp_path):
    many = {"precursors": [{"formula": "TiO2"}] * 120 + [{"formula": "SrO"}] * 80}
    check_searchable(Shelf.model_validate(many))
    many["precursors"] = [{"formula": f} for f in ("TiO2", "SrO", "ZrO2", "BaO") for _ in range(15)]
    with pytest.raises(SpecError, match=r"than 100,000 combinations") as caught:
        check_labs(spec_with({"shelf": many}), {"lab": people(tmp_path)})
    assert "fewer precursors" in caught.value.hint


def test_without_recipes_a_request_has_none_and_its_bytes_stay(campaign_on, ledger):
    with campaign_on(lab := InstantLab(), spec_of(batch=1, in_flight=1)) as campaign:
        planned(campaign)
        assert state(campaign) is ExperimentState.RUNNING
    (sent,) = lab.requests.values()
    assert sent.recipe is None
    assert "recipe" not in sent.to_json()
    again = ExperimentRequest.from_json(sent.to_json() | {"recipe": {"steps": [1]}})
    assert again.recipe == {"steps": [1]}
    assert ExperimentRequest.from_json(again.to_json()) == again


def test_a_campaign_file_names_its_shelf(tmp_path, monkeypatch):
    (tmp_path / "shelf.yaml").write_text(yaml.safe_dump(SHELF))
    data = spec_of(lab={"adapter": "human"}).model_dump(
        mode="json", include={"name", "parents", "objective", "budget"}, exclude_unset=True
    )
    lab = {"adapter": "human", "config": {"properties": UNITS}}
    path = tmp_path / "campaign.yaml"

    def loaded(**recipes):
        path.write_text(yaml.safe_dump(data | {"lab": lab | {"recipes": recipes}}))
        return load_spec(path).lab.recipes

    found = loaded(shelf="shelf.yaml", mass="500 mg")
    assert found.mass == 0.5
    assert found.shelf == Shelf.model_validate(SHELF)
    assert loaded().shelf is None
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mine.yaml").write_text(yaml.safe_dump(SHELF))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert loaded(shelf="~/mine.yaml").shelf == found.shelf
    with pytest.raises(InputError, match="There is no shelf"):
        loaded(shelf="nowhere.yaml")
    with pytest.raises(SpecError) as caught:
        loaded(shelve="shelf.yaml")
    assert "shelf" in caught.value.hint
    path.write_text(yaml.safe_dump(data | {"labs": [lab | {"recipes": {"shelf": "shelf.yaml"}}]}))
    assert load_spec(path).labs[0].recipes.shelf == found.shelf


def test_recipes_need_a_lab_that_follows_them(tmp_path):
    """One that only computes would ignore what a person has approved."""
    (tmp_path / "t.csv").write_text("formula,bulk_modulus,formation_energy\nSrTiO3,170,-3.1\n")
    for adapter, config in (
        ("table", {"path": str(tmp_path / "t.csv")}),
        ("mailbox", {"properties": UNITS}),
    ):
        lab = load_lab(adapter, config, tmp_path / adapter)
        with pytest.raises(SpecError, match="does not say that it follows recipes") as caught:
            check_labs(spec_with(), {"lab": lab})
        assert "features" in caught.value.hint
    check_labs(
        spec_with(), {"lab": load_lab("mailbox", config | {"recipes": True}, tmp_path / "m")}
    )


def test_recipes_need_a_shelf(tmp_path):
    with pytest.raises(SpecError, match="nothing says what is on its shelf"):
        check_labs(spec_with({}), {"lab": people(tmp_path)})
