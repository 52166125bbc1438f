"""The core: counts add up, duplicates keep their origins, papers are JSON, runs repeat."""

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from cloudseed.errors import UsageError
from cloudseed.proposers import (
    AllowedElements,
    Candidate,
    ChargeNeutrality,
    FilterResult,
    IonicSubstitution,
    Operation,
    PartialSubstitution,
    ProposalContext,
    Quotas,
    Verdict,
    generate,
    load_proposer,
)

PROPOSERS = (IonicSubstitution(),)
FILTERS = (AllowedElements(), ChargeNeutrality())


def run(parents, *, proposers=PROPOSERS, filters=FILTERS, budget=40, seed=7, **more):
    rng = np.random.default_rng(seed)
    context = ProposalContext(tuple(parents))
    return generate(proposers, context, filters, budget=budget, rng=rng, **more)


@dataclass(frozen=True)
class Shuffler:
    """Proposes random colourings, so that the random generator matters."""

    name: str = "shuffler"
    version: str = "3"

    def propose(self, context, budget, rng):
        for parent in context.parents:
            for rank in range(budget):
                colours = rng.choice(["Ca", "Sr", "Ti", "Zr", "O"], len(parent.crystal.colouring))
                yield Candidate(
                    parent.crystal.recoloured([str(c) for c in colours]),
                    (parent.name,),
                    Operation("shuffle", {"rank": rank}),
                    -1.0,
                    "none",
                    rank,
                )


class Doubter:
    name = "doubter"
    version = "1"

    def check(self, candidate):
        return FilterResult(self.name, self.version, Verdict.UNKNOWN, "who knows")


def test_enough_neutral_children_from_the_examples(parents):
    generation = run(parents, budget=500)
    assert len(generation.kept) >= 1500
    assert len({kept.key for kept in generation.kept}) == len(generation.kept)
    assert all(r.verdict is Verdict.PASS for kept in generation.kept for r in kept.results)


def test_counts_add_up(parents):
    generation = run(parents, proposers=(IonicSubstitution(), Shuffler()))
    assert generation.raw == (
        len(generation.kept) + generation.duplicates + sum(generation.dropped.values())
    )
    assert generation.duplicates
    assert generation.dropped
    assert sum(len(k.origins) for k in generation.kept) == (
        len(generation.kept) + generation.duplicates
    )


def test_a_duplicate_keeps_all_its_origins(parents):
    generation = run(parents)
    by_key = {kept.key: kept for kept in generation.kept}
    barium = by_key["221 1a:Sn 1b:Sr 3d:O"]
    assert {o.candidate.parents[0] for o in barium.origins} >= {"SrTiO3", "BaZrO3"}
    assert barium.candidate is barium.origins[0].candidate


def test_parents_come_first_and_may_be_left_out(parents):
    kept = run(parents).kept[: len(parents)]
    assert [k.candidate.operation.name for k in kept] == ["parent"] * len(parents)
    assert [k.candidate.parents for k in kept] == [(p.name,) for p in parents]
    without = run(parents, keep_parents=False)
    assert all(k.candidate.operation.name != "parent" for k in without.kept)


def test_known_crystals_are_left_out_and_counted(parents):
    first = run(parents)
    known = {kept.key for kept in first.kept[:25]}
    second = run(parents, known=known)
    assert second.known == 25
    assert {k.key for k in second.kept} == {k.key for k in first.kept} - known


def test_papers_are_json_and_complete(parents):
    for kept in run(parents).kept[::50]:
        papers = json.loads(json.dumps(kept.papers(), allow_nan=False))
        assert papers["key"] == kept.key
        assert papers["seed"] == "7"
        assert [f["filter"] for f in papers["filters"]] == ["elements", "charge_neutrality"]
        assert len(papers["config_sha256"]) == 64
        assert {
            "parents",
            "root",
            "colouring",
            "orbit_map",
            "operation",
            "arguments",
            "log_probability",
            "probability_kind",
            "rank",
            "depth",
            "proposer_sha256",
            "stream",
        } <= set(papers["origins"][0])


def test_the_same_seed_gives_the_same_generation(parents):
    first, second, other = (
        run(parents, proposers=(Shuffler(), IonicSubstitution()), seed=seed) for seed in (1, 1, 2)
    )
    assert [k.papers() for k in first.kept] == [k.papers() for k in second.kept]
    assert first.dropped == second.dropped
    assert [k.key for k in first.kept] != [k.key for k in other.kept]


def test_the_number_of_workers_changes_nothing(parents):
    proposers = (IonicSubstitution(), PartialSubstitution(cap=3), Shuffler())
    alone, shared = (
        run(parents[:4], proposers=proposers, workers=workers, top=150) for workers in (1, 2)
    )
    assert [k.papers() for k in alone.kept] == [k.papers() for k in shared.kept]
    assert (alone.dropped, alone.unknown) == (shared.dropped, shared.unknown)
    assert (alone.raw, alone.duplicates) == (shared.raw, shared.duplicates)


def test_other_parents_change_nothing_of_a_parents_children(parents):
    proposers = (PartialSubstitution(cap=3),)
    few = run(parents[2:4], proposers=proposers, keep_parents=False)
    names = {p.name for p in parents[2:4]}
    made = {o.candidate.crystal for k in few.kept for o in k.origins}
    more = run(parents, proposers=proposers, keep_parents=False)
    assert made == {
        o.candidate.crystal for k in more.kept for o in k.origins if o.candidate.parents[0] in names
    }


def test_top_and_quotas_choose_and_say_what_they_kept_out(parents):
    quotas = Quotas(per_parent=6, per_system=2, exploration=0.25)
    generation = run(
        parents, proposers=(IonicSubstitution(), PartialSubstitution(cap=3)), top=60, quotas=quotas
    )
    assert len(generation.kept) == 60
    assert generation.skipped
    chosen = [kept.papers()["chosen"] for kept in generation.kept]
    assert set(chosen) == {"likeliest", "exploration"}
    assert chosen == sorted(chosen, reverse=True)
    assert sum(generation.taken.values()) == 60
    assert generation.taken["partial_substitution"] > 10
    assert set(generation.fruitful) <= {p.name for p in parents}
    assert [k.key for k in generation.kept] == list(generation.kept.keys())
    assert [k.candidate.crystal for k in generation.kept] == list(generation.kept.crystals())


def test_progress_counts_parents(parents):
    seen = []
    run(parents[:3], progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_filter_of_compositions_is_asked_once_for_each(parents):
    asked = []

    class Counting(Doubter):
        depends_on = "composition"

        def check(self, candidate):
            asked.append(candidate.crystal.formula)
            return super().check(candidate)

    run(parents, filters=(Counting(),), keep_parents=False)
    assert len(asked) == len(set(asked)) > 100


def test_unknown_passes_and_is_counted(parents):
    generation = run(parents, filters=(Doubter(),))
    assert generation.unknown == {("doubter", "who knows"): generation.raw}
    assert not generation.dropped
    assert generation.kept[0].results[0].verdict is Verdict.UNKNOWN


def test_the_first_filter_that_fails_ends_the_questions(parents):
    generation = run(parents, filters=(AllowedElements(allow=["Sr", "Ti", "O"]), Doubter()))
    assert {name for name, _ in generation.dropped} == {"elements"}
    assert generation.unknown["doubter", "who knows"] < generation.raw


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parents": ()}, "no parents"),
        ({"proposers": ()}, "no proposers"),
        ({"budget": 0}, "budget of 0"),
        ({"top": 0}, "top 0"),
        ({"workers": 0}, "0 workers"),
        ({"quotas": Quotas(shares={"nobody": 0.5})}, "nobody"),
    ],
)
def test_nothing_to_do_is_refused(parents, change, said):
    with pytest.raises(UsageError, match=said) as caught:
        run(**({"parents": parents} | change))
    assert caught.value.hint


def test_load_proposer():
    assert load_proposer("ionic_substitution") == IonicSubstitution()
    with pytest.raises(UsageError) as caught:
        load_proposer("ionic_substitutions")
    assert "'ionic_substitution'" in caught.value.hint


def test_importing_the_part_loads_nothing_heavy():
    code = "import sys, cloudseed.proposers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"pymatgen.core", "spglib", "ase", "pandas", "scipy", "torch"}
    assert not heavy & set(done.stdout.split())
