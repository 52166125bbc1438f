"""A campaign learns from what its lab cannot make."""

from __future__ import annotations

import itertools

import pytest

from cloudseed.db import ExperimentState
from cloudseed.lab_adapters import Outcome, OutcomeKind
from cloudseed.loop import campaign as module
from cloudseed.loop.planning import situation
from tests.loop.labs import InstantLab, modulus
from tests.loop.small import spec_of


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)


def unless_heavy(request):
    """Half of the candidates, told by their first species, cannot be made."""
    if sum(map(ord, request.cell.species[0])) % 40 > 30:
        return Outcome(OutcomeKind.INFEASIBLE, reason="it fell apart")
    return modulus(request)


def test_later_picks_avoid_what_the_lab_cannot_make(campaign_on, ledger):
    # Everything meets the bound, so that a model has nothing to prefer but what can be made.
    spec = spec_of(
        objective="find all",
        constraints=["formation_energy <= 5 eV/atom"],
        initial=20,
        budget={"experiments": 18},
    )
    with campaign_on(InstantLab(unless_heavy), spec) as campaign:
        campaign.run()
    modelled = {d.id: d for d in ledger.decisions(1) if d.method != "space_filling"}
    ends = ([], [])
    for experiment in ledger.experiments(1):
        ends[experiment.decision_id in modelled].append(experiment.state)
    covering, chosen = ends
    assert covering.count(ExperimentState.INFEASIBLE) >= 8
    assert len(chosen) >= 6
    assert chosen.count(ExperimentState.INFEASIBLE) <= 1
    first = next(iter(modelled.values()))
    assert first.model["makeable"]["infeasible"] == covering.count(ExperimentState.INFEASIBLE)
    assert len(first.observed) == 2 * covering.count(ExperimentState.MEASURED)


def test_what_tells_of_the_material_is_learned_and_nothing_else(campaign_on, ledger):
    kinds = itertools.cycle(
        (OutcomeKind.INFEASIBLE, OutcomeKind.REFUSED, OutcomeKind.FAILED_FINAL, None)
    )

    def answer(request):
        kind = next(kinds)
        return modulus(request) if kind is None else Outcome(kind, reason="not this one")

    spec = spec_of(budget={"experiments": 3})
    with campaign_on(InstantLab(answer), spec) as campaign:
        campaign.run()
        pool = campaign.context.pool
    state = situation(ledger, 1, pool, spec.problem)
    ends = {pool.position[e.candidate_id]: e.state for e in ledger.experiments(1)}
    found = {ends[row] for row in state.observations.infeasible.tolist()}
    assert found == {ExperimentState.INFEASIBLE, ExperimentState.REFUSED}
    assert ExperimentState.FAILED in ends.values()
    assert not set(state.available) & set(ends)
    assert [ends[row] for row in state.observations.rows.tolist()] == [ExperimentState.MEASURED] * 3


def test_a_lab_that_makes_nothing_ends_the_campaign(campaign_on, ledger):
    lab = InstantLab(lambda _: Outcome(OutcomeKind.INFEASIBLE, reason="it fell apart"))
    spec = spec_of(initial=2, budget={"experiments": 10, "unsuccessful": 9})
    with campaign_on(lab, spec) as campaign:
        end = campaign.run()
    assert end.measured == 0
    assert {d.method for d in ledger.decisions(1)} == {"space_filling"}
    assert len(ledger.experiments(1)) >= 10
