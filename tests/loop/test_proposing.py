"""Recipes: what is chosen, why the rest is not, and pools as files."""

import csv
import io
import json
import sys
import zlib
from collections import Counter
from dataclasses import replace

import pytest

from cloudseed.errors import EmptyPoolError, InputError, UsageError
from cloudseed.loop import proposing
from cloudseed.loop.pool_files import (
    COLUMNS,
    TABLE,
    check_pool_path,
    explain,
    read_papers,
    write_pool,
)
from cloudseed.loop.proposing import propose_from
from cloudseed.loop.recipe import Choice, Recipe
from cloudseed.proposers import FilterResult, Quotas, Verdict, load_parents
from cloudseed.surrogate import scope_string
from tests.loop.small import PARENTS
from tests.proposers.sources.test_files import cif

CHEMISTRY = tuple(Choice(n) for n in ("charge_neutrality", "ion_size", "perovskite_tolerance"))


def table(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


@pytest.fixture(scope="module")
def parents():
    return load_parents([PARENTS])


@pytest.fixture(scope="module")
def few(parents):
    return propose_from(Recipe(children=60, top=24, even=True), parents, volumes=True)


def test_as_many_as_are_wanted_likeliest_first_and_even(few, parents):
    assert len(few.proposals) == 24
    given = [p for p in few.proposals if p.kept.candidate.operation.name != "parent"]
    logs = [p.kept.candidate.log_probability for p in given]
    assert logs == sorted(logs, reverse=True)
    per_parent = {p.name: sum(p.name in q.kept.candidate.parents for q in given) for p in parents}
    assert max(per_parent.values()) <= -(-24 // len(parents))


def test_strings_volumes_and_papers(few):
    for proposal in few.proposals:
        assert proposal.scope == scope_string(proposal.crystal, "canonical")
        given = proposal.kept.candidate.operation.name == "parent"
        path = "spglib" if given else "inherited"
        assert (proposal.dialect, proposal.scope_path) == ("canonical-1", path)
        assert proposal.cell().volume == pytest.approx(proposal.volume)
        papers = json.loads(json.dumps(proposal.papers(), allow_nan=False))
        assert papers["scope"]["text"] == proposal.scope
        assert papers["volume"]["predictor"] == ("as given" if given else "DLS")


def test_late_filters_are_asked_of_what_is_chosen_only(parents):
    recipe = Recipe(filters=CHEMISTRY, children=60, top=10, keep_parents=False)
    made = propose_from(recipe, parents)
    assert len(made.proposals) == 10
    for proposal in made.proposals:
        said = {r.filter: str(r.verdict) for r in proposal.verdicts}
        assert set(said) == {"ion_size", "perovskite_tolerance"}
        assert "fail" not in said.values()
    facts = made.summary()
    assert facts["kept"] == 10
    assert sum(facts["dropped"].values()) < facts["raw"]


class _Half:
    """Fails about half of what it sees, and never sees the same crystal twice."""

    name, version, late = "half", "1", True

    def __init__(self):
        self.seen = set()

    def check(self, candidate):
        assert candidate.key not in self.seen
        self.seen.add(candidate.key)
        fails = zlib.crc32(candidate.key.encode()) % 2
        verdict = Verdict.FAIL if fails else Verdict.PASS
        return FilterResult(self.name, self.version, verdict, "odd" if fails else "")


def test_late_filters_leave_shares_and_exploration_exact(parents, monkeypatch):
    monkeypatch.setattr(proposing, "load_filter", lambda *_: _Half())
    recipe = Recipe(
        proposers=(Choice("ionic_substitution"), Choice("partial_substitution")),
        filters=(Choice("half"),),
        children=300,
        keep_parents=False,
        top=80,
        quotas=Quotas(shares={"partial_substitution": 0.2}, exploration=0.25),
        even=True,
    )
    made = propose_from(recipe, parents)
    assert Counter(p.kept.chosen for p in made.proposals) == {"likeliest": 60, "exploration": 20}
    by = Counter(p.kept.origins[0].proposer for p in made.proposals)
    assert 0 < by["partial_substitution"] <= 16
    assert made.short == 0
    assert made.summary()["dropped"]["half: odd"] > 0
    per_parent = Counter(p.kept.candidate.parents for p in made.proposals)
    assert max(per_parent.values()) <= -(-80 // len(per_parent))


def test_a_list_on_standard_input_is_read_once(monkeypatch):
    text = "".join(cif(metal) for metal in ("Cs", "Rb", "K", "Na"))
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    monkeypatch.setattr(proposing, "load_filter", lambda *_: _Half())
    choice = Choice("fixed_list", {"path": "-"})
    made = propose_from(Recipe(proposers=(choice,), filters=(Choice("half"),), top=4), ())
    assert 0 < len(made.proposals) < 4
    assert made.short == 4 - len(made.proposals)


def test_a_root_that_was_searched_for_is_not_called_inherited(parents):
    choice = Choice("partial_substitution")
    recipe = Recipe(proposers=(choice,), children=40, keep_parents=False, top=40)
    made = propose_from(recipe, parents)
    for proposal in made.proposals:
        crystal = proposal.crystal
        parent = next(p for p in parents if p.name in proposal.kept.candidate.parents)
        if crystal.root.sha != parent.crystal.root.sha:
            assert proposal.scope_path in {"spglib", "memo"}
    assert {p.scope_path for p in made.proposals} >= {"spglib", "memo"}


def test_built_cells_are_judged_in_their_predicted_volume(parents):
    recipe = Recipe(filters=(Choice("minimum_distance", {"factor": 2.0}),), children=20, top=5)
    with pytest.raises(EmptyPoolError, match="too close") as caught:
        propose_from(recipe, parents)
    assert caught.value.data["dropped"]
    with pytest.raises(EmptyPoolError, match="too close"):
        propose_from(replace(recipe, top=None), parents)


def test_quotas_that_cannot_be_met_are_told(parents):
    recipe = Recipe(children=60, top=50, keep_parents=False, quotas=Quotas(per_parent=3))
    made = propose_from(recipe, parents)
    assert len(made.proposals) == 3 * len(parents)
    assert made.short == 50 - 3 * len(parents)
    assert made.summary()["quotas"]["per_parent"] > 0


def test_nothing_left_is_an_error(parents):
    with pytest.raises(EmptyPoolError) as caught:
        propose_from(Recipe(allow=("He",), children=5), parents)
    assert caught.value.hint


def test_a_list_needs_no_parents_and_brings_its_numbers(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(f'id,energy,cif\na,-1.0,"{cif()}"\nb,-2.0,"{cif("Rb")}"\nc,0,broken\n')
    choice = Choice("fixed_list", {"path": str(path), "skip_bad": True})
    made = propose_from(Recipe(proposers=(choice,)), (), volumes=True)
    assert [p.crystal.formula for p in made.proposals] == ["CsCl", "RbCl"]
    papers = made.proposals[0].papers()
    assert papers["origins"][0]["arguments"]["values"] == {"energy": -1.0}
    assert made.proposals[0].volume == pytest.approx(4.1**3)
    with pytest.raises(InputError):
        propose_from(Recipe(proposers=(Choice("fixed_list", {"path": str(path)}),)), ())
    with pytest.raises(UsageError, match="no parents"):
        propose_from(Recipe(), ())


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice("perovskite_toleranze"), "no filter"),
        (Choice("ion_size", {"leest": 0.5}), "no option 'leest'"),
        (Choice("supply_risk", {"of": "everything"}), "cannot be made"),
        (Choice("element_limit", {"list": "nowhere.csv"}), "cannot be made"),
    ],
)
def test_filters_that_cannot_be_made(parents, choice, said):
    with pytest.raises(UsageError, match=said) as caught:
        propose_from(Recipe(filters=(choice,)), parents)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["pool.parquet", "pool.csv", "folder"])
def test_pools_are_written_and_their_papers_read(tmp_path, few, name):
    path = tmp_path / name
    write_pool(path, few.proposals)
    first = few.proposals[0]
    assert read_papers(path, first.kept.key) == json.loads(json.dumps(first.papers()))
    with pytest.raises(UsageError, match="no candidate"):
        read_papers(path, "221 1a:Xe")
    if name == "folder":
        assert len(list(path.glob("*.cif"))) == 24
        rows = table(path / TABLE)
        assert load_parents([path / rows[0]["file"]])[0].crystal.key == rows[0]["key"]
    elif name == "pool.csv":
        assert tuple(table(path)[0]) == COLUMNS
    with pytest.raises(UsageError):
        check_pool_path(tmp_path)


def test_no_structures_where_none_are_wanted(tmp_path, parents):
    made = propose_from(Recipe(children=5, top=5), parents)
    write_pool(tmp_path / "pool.csv", made.proposals, structures=False)
    rows = table(tmp_path / "pool.csv")
    assert [row["cif"] for row in rows] == [""] * 5
    assert [row["volume"] for row in rows] == [""] * 5


def test_papers_for_people(few):
    lines = "\n".join(explain(few.proposals[-1].papers()))
    for word in ("ionic_substitution of", "->", "log probability", "SCOPE", "charge_neutrality"):
        assert word in lines


def test_what_is_no_pool(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "a.parquet").write_text("no parquet")
    for name in ("a.csv", "a.parquet", "missing.csv"):
        with pytest.raises(InputError):
            read_papers(tmp_path / name, "SrTiO3")
    with pytest.raises(UsageError, match="format"):
        check_pool_path(tmp_path / "pool.xlsx")


def test_how_symmetry_was_found_does_not_depend_on_who_is_read_first(few):
    kept = few.proposals._kept
    forward, backward = (
        proposing.Proposals(kept, proposing._Table("canonical", {}, volumes=False), few_closely())
        for _ in range(2)
    )
    paths = [p.scope_path for p in forward]
    assert set(paths) == {"spglib", "memo"}
    assert [backward[i].scope_path for i in reversed(range(len(kept)))] == paths[::-1]


def few_closely():
    return proposing._Closely([], {}, None, lambda *_: None)
