"""A child without a structure is counted; a plug-in that fails is named."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from cloudseed.errors import PluginError, StructureError, UsageError
from cloudseed.loop import proposing
from cloudseed.loop.recipe import Choice, Recipe
from cloudseed.proposers import (
    FilterResult,
    IonicSubstitution,
    ProposalContext,
    Verdict,
    generate,
    load_proposer,
)


class Judge:
    """Passes all but those of an element, of which it raises an error."""

    name, version = "judge", "1"

    def __init__(self, error, element="Ba", depends_on="crystal"):
        self.error, self.element, self.depends_on = error, element, depends_on

    def check(self, candidate):
        if self.element in candidate.crystal.composition:
            raise self.error
        return FilterResult(self.name, self.version, Verdict.PASS)


class Loose:
    """Proposes the parents, or raises."""

    name, version = "loose", "1"

    def __init__(self, error=None, spoiled=False):
        self.error, self.spoiled = error, spoiled

    def propose(self, context, budget, rng):
        from cloudseed.proposers.making import _given

        for parent in context.parents:
            given = _given(parent)
            empty = given.crystal.recoloured(["Vac"] * len(given.crystal.colouring))
            yield replace(given, crystal=empty) if self.spoiled else given
        if self.error:
            raise self.error


class Broken(IonicSubstitution):
    """Ends the process that it runs in, or raises."""

    def batches(self, parent, context, budget, rng):
        if os.environ.get("CLOUDSEED_TEST_DIE"):
            os._exit(3)
        yield from super().batches(parent, context, 5, rng)
        raise StructureError("Nothing is left of the parent.") if budget == 7 else KeyError("x")


def run(parents, proposers, filters=(), budget=40, workers=1, **more):
    context = ProposalContext(tuple(parents))
    rng = np.random.default_rng(0)
    return generate(proposers, context, filters, budget=budget, rng=rng, workers=workers, **more)


@pytest.mark.parametrize("depends_on", ["crystal", "composition"])
def test_a_child_without_a_structure_is_counted(parents, depends_on):
    judge = Judge(StructureError("The child is odd."), depends_on=depends_on)
    made = run(parents, [IonicSubstitution()], [judge])
    assert made.dropped["judge", "The child is odd."] > 1
    assert made.kept
    assert all("Ba" not in kept.candidate.crystal.composition for kept in made.kept)


def test_listed_candidates_without_a_structure_are_counted(parents):
    made = run(parents, [Loose(spoiled=True)])
    assert sum(n for (who, _), n in made.dropped.items() if who == "structure") == len(parents)
    assert len(made.kept) == len(parents)


def test_progress_is_told_while_a_list_is_read(parents, monkeypatch):
    monkeypatch.setattr("cloudseed.proposers.making._TOGETHER", 1)
    told = []
    run(parents, [Loose()], progress=lambda *args: told.append(args))
    assert told[: len(parents)] == [(n + 1, 0) for n in range(len(parents))]


def test_a_parent_that_gives_no_structure_keeps_the_others(parents):
    made = run(parents, [Broken()], budget=7)
    assert made.dropped["structure", "Nothing is left of the parent."] == len(parents)
    assert made.taken["ionic_substitution"] > 0


@pytest.mark.parametrize("depends_on", ["crystal", "composition"])
def test_a_filter_that_fails_is_named(parents, depends_on):
    with pytest.raises(PluginError, match=r"filter 'judge' failed \(KeyError") as caught:
        run(parents, [IonicSubstitution()], [Judge(KeyError("Ba"), depends_on=depends_on)])
    assert "judge" in caught.value.hint


@pytest.mark.parametrize(
    ("proposer", "name"), [(Loose(ZeroDivisionError()), "loose"), (Broken(), "ionic_substitution")]
)
def test_a_proposer_that_fails_is_named(parents, proposer, name):
    with pytest.raises(PluginError, match=f"proposer '{name}' failed"):
        run(parents, [proposer])


def test_a_process_that_dies_is_one_error(parents, monkeypatch):
    monkeypatch.setenv("CLOUDSEED_TEST_DIE", "1")
    with pytest.raises(PluginError, match="died") as caught:
        run(parents, [Broken()], workers=2)
    assert "ionic_substitution" in caught.value.hint


def test_late_filters_are_guarded_too(parents, monkeypatch):
    for error in (StructureError("The child is odd."), KeyError("Ba")):
        judge = Judge(error)
        judge.late = True
        monkeypatch.setattr(proposing, "load_filter", lambda *_, judge=judge: judge)
        recipe = Recipe(filters=(Choice("judge"),), children=20)
        if isinstance(error, KeyError):
            with pytest.raises(PluginError, match="filter 'judge'"):
                proposing.propose_from(recipe, tuple(parents))
        else:
            made = proposing.propose_from(recipe, tuple(parents))
            assert made.dropped["judge", "The child is odd."] > 0


def test_a_plug_in_that_cannot_be_imported_is_named(monkeypatch):
    from cloudseed.proposers import registry

    class Point:
        name = "mine"

        def load(self):
            raise ImportError("no module")

    monkeypatch.setattr(registry, "entry_points", lambda **_: [Point()])
    with pytest.raises(PluginError, match="'mine' failed"):
        load_proposer("mine")
    with pytest.raises(UsageError):
        load_proposer("yours")


class OneEmpty(IonicSubstitution):
    """Empties every orbit of the first child of each batch."""

    def batches(self, parent, context, budget, rng):
        for batch in super().batches(parent, context, budget, rng):
            numbers = batch.numbers.copy()
            numbers[0] = 0
            yield replace(batch, numbers=numbers)


def test_one_child_without_a_structure_leaves_its_batch(parents):
    whole = run(parents, [IonicSubstitution()], keep_parents=False)
    made = run(parents, [OneEmpty()], keep_parents=False)
    gone = sum(n for (who, _), n in made.dropped.items() if who == "structure")
    assert gone == len(parents)
    assert len(made.kept) + gone + made.duplicates == len(whole.kept) + whole.duplicates
