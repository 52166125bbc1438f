"""A pool that grows from what was measured."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from cloudseed.db import open_ledger
from cloudseed.loop import Campaign
from cloudseed.loop import campaign as module
from cloudseed.loop.context import Context
from cloudseed.loop.pool import CrystalShelf, load_pool, record_pool
from cloudseed.loop.proposing import propose_from
from cloudseed.loop.recipe import Recipe
from cloudseed.loop.regrowing import observers_of
from cloudseed.proposers import load_parents
from tests.loop.labs import InstantLab
from tests.loop.small import PARENTS, spec_of

GROWING = {
    "proposers": ["ionic_substitution", {"name": "evolution", "options": {"depth": 2}}],
    "proposer": {"per_parent": 10},
    "constraints": [],
    "budget": {"experiments": 12},
    "batch": 2,
    "in_flight": 1,
}


@dataclass(frozen=True)
class Letters:
    """Stands in for an encoder: how often each letter stands in a string."""

    id: str = "letters"
    name: str = "letters"
    dimension: int = 128
    dialect: str = "cloud"

    def embed(self, strings, progress=None):
        counts = [Counter(string.encode()) for string in strings]
        table = [[count[code] for code in range(self.dimension)] for count in counts]
        return np.array(table, dtype=np.float32).reshape(-1, self.dimension)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)


@pytest.fixture(scope="module")
def parents():
    return load_parents([PARENTS])


@pytest.fixture
def opened(tmp_path, parents):
    """Returns a context manager that opens a campaign in a ledger of its own, new or not."""

    @contextmanager
    def start(name, lab, **changes):
        spec = spec_of(**(GROWING | changes))
        with open_ledger(f"sqlite:///{tmp_path / name}.db") as ledger:
            config = {
                "spec": spec.model_dump(mode="json"),
                "lab": {"name": "instant", "simulated": True},
            }
            row = ledger.campaign(spec.name) or ledger.create_campaign(spec.name, config)
            with ledger.claim(row.id) as claim:
                if not ledger.count_candidates(row.id):
                    made = propose_from(Recipe.of(spec), parents, dialect="cloud")
                    record_pool(ledger, claim, made)
                pool = load_pool(ledger, row.id, Letters())
                shelf = CrystalShelf(ledger, parents)
                yield Campaign(
                    Context(
                        ledger,
                        claim,
                        row,
                        spec,
                        lab,
                        pool,
                        shelf,
                        parents,
                        observers_of(spec),
                        Letters(),
                    )
                )

    return start


def told(campaign):
    """Returns the pool's keys, its papers, and what was chosen, in order."""
    ledger = campaign.context.ledger
    rows = ledger.candidates(1)
    keys = {row.id: row.key for row in rows}
    papers = [dict(ledger.papers(row.id)) for row in rows]
    return list(keys.values()), papers, [keys[e.candidate_id] for e in ledger.experiments(1)]


def test_the_pool_grows_from_the_best(opened, parents):
    with opened("grows", InstantLab()) as campaign:
        before = list(campaign.context.pool.rows)
        sizes = []
        end = campaign.run(on_step=lambda now: sizes.append(now.pool))
        ledger = campaign.context.ledger
        keys, papers, _ = told(campaign)
        rows, decisions = ledger.candidates(1), ledger.decisions(1)
        assert ledger.verify() == []
        pool = campaign.context.pool
        given = {parent.name: parent.crystal for parent in parents}
        assert all(
            campaign.context.shelf.parent(row) is given[paper["regrown"]["given"][0]]
            for row, paper in zip(rows, papers, strict=True)
            if "regrown" in paper
        )
    assert end.measured == 12
    assert rows[: len(before)] == before
    assert sizes == sorted(sizes)
    assert len(before) == sizes[0] < sizes[-1] == end.pool == len(rows) == len(pool.features)
    assert len(set(keys)) == len(keys)
    born = [paper["regrown"] for paper in papers[len(before) :]]
    assert not any("regrown" in paper for paper in papers[: len(before)])
    generations = Counter(note["generation"] for note in born)
    assert len(generations) > 1
    # At most once per decision, and never on too little.
    assert len({note["step"] for note in born}) == len(generations)
    assert all(note["parents"] and note["began"] == len(before) for note in born)
    # Half of the pool, the even share of two proposers, over three generations.
    assert len(born) <= len(before)
    assert max(generations.values()) <= -(-len(before) // 3)
    depths = Counter(p["origins"][0]["depth"] for p in papers[len(before) :])
    assert max(depths) == 2
    # Each decision's pool is still there to be read: what was recorded before it.
    for decision in decisions:
        size = len(before) + sum(note["step"] <= decision.step for note in born)
        assert decision.pool_sha == hashlib.sha256("\n".join(keys[:size]).encode()).hexdigest()


class KilledError(BaseException):
    """Stands in for a kill."""


@pytest.mark.parametrize("where", ["record_pool", "embed_all", "plan", "stopped"])
def test_killed_and_resumed_it_grows_the_same(opened, monkeypatch, where):
    with opened("whole", InstantLab()) as campaign:
        campaign.run()
        whole = told(campaign)
    lab, kills = InstantLab(), 0
    target = module if where == "plan" else module.regrown.__globals__

    def killing(*args, **kwargs):
        if where == "plan" and "regrown" not in args[0].ledger.papers(args[0].pool.rows[-1].id):
            return original(*args, **kwargs)
        raise KilledError

    if where == "stopped":
        looks = []
        with opened("cut", lab) as campaign:
            campaign.run(stopping=lambda: len(looks) > 9 or looks.append(1))
    else:
        original = module.plan if where == "plan" else target[where]
        with monkeypatch.context() as patch, opened("cut", lab) as campaign:
            if where == "plan":
                patch.setattr(module, "plan", killing)
            else:
                patch.setitem(target, where, killing)
            with pytest.raises(KilledError):
                campaign.run()
            kills += 1
    with opened("cut", lab) as campaign:
        end = campaign.run()
        assert told(campaign) == whole
    assert end.status == "finished"
    assert set(lab.runs.values()) == {1}


def test_share_and_depth_are_caps(opened):
    evolution = {"name": "evolution", "options": {"depth": 1}, "share": 0.1}
    proposers = ["ionic_substitution", evolution]
    with opened("capped", InstantLab(), proposers=proposers, regrow=2) as campaign:
        began = len(campaign.context.pool.rows)
        campaign.run()
        keys, papers, _ = told(campaign)
    assert began < len(keys)
    assert len(keys) - began <= 0.1 * len(keys)
    assert {p["origins"][0]["depth"] for p in papers[began:]} == {1}


def test_an_exhausted_pool_is_lengthened(opened):
    few = {"quotas": {"top": 4}, "regrow": 1000}
    proposers = ["ionic_substitution", {"name": "evolution", "share": 0.5}]
    with opened("few", InstantLab(), proposers=proposers, **few) as campaign:
        end = campaign.run()
    assert end.pool > 4
    assert end.measured > 4


def test_without_an_observer_the_pool_stays(opened):
    with opened("still", InstantLab(), proposers=["ionic_substitution"]) as campaign:
        began = campaign.context
        end = campaign.run()
        assert campaign.context is began
    assert end.pool == len(began.pool.rows)


def test_nothing_feasible_nothing_grown(opened):
    with opened("none", InstantLab(), constraints=["formation_energy <= -99 eV/atom"]) as campaign:
        began = len(campaign.context.pool.rows)
        assert campaign.run().pool == began
