"""What sections of a campaign file say of each other, and must not contradict."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloudseed.errors import ObjectiveError, SpecError
from cloudseed.loop.spec.candidates import ProposerSpec
from cloudseed.loop.spec.labs import LabSpec

if TYPE_CHECKING:
    from cloudseed.loop.spec.campaign import CampaignSpec

__all__ = ["check_goal", "check_labs", "check_proposing", "check_restart"]


def check_goal(spec: CampaignSpec) -> None:
    """Refuses decisions, models and reasons to stop that do not fit the objective."""
    finds = spec.problem.objective.direction == "find"
    if spec.stop.expected_hits and not finds:
        raise SpecError(
            "The key 'stop.expected_hits' needs an objective that finds all.",
            hint="Use stop.regret or stop.target for an optimum.",
        )
    if spec.stop.regret and finds:
        raise SpecError(
            "The key 'stop.regret' needs an objective with an optimum or a target.",
            hint="Use stop.expected_hits where all is to be found.",
        )
    try:
        spec.decide.strategy.acquisition_for(spec.problem)
    except ObjectiveError as error:
        raise SpecError(f"decide.acquisition: {error.message}", hint=error.hint) from error
    named = {*spec.surrogate.kinds, *spec.surrogate.heads}
    if unknown := sorted(named - set(spec.problem.properties)):
        raise SpecError(
            f"The key 'surrogate' names {unknown[0]}, which is neither sought nor bounded.",
            hint=f"Properties of this campaign: {', '.join(spec.problem.properties)}.",
        )
    several = bool(spec.problem.further)
    if several and spec.stop.regret:
        raise SpecError(
            "The key 'stop.regret' needs one objective with an optimum or a target.",
            hint="Of a front use stop.no_improvement_rounds.",
        )
    if several and spec.stop.target is not None and not spec.reference:
        raise SpecError(
            "The key 'stop.target' is a hypervolume where several objectives are sought, and"
            " that counts from a reference.",
            hint="Give a `reference`, or use stop.no_improvement_rounds.",
        )


def check_proposing(spec: CampaignSpec, *, parents_optional: bool) -> None:
    """Refuses a campaign that has nothing to propose from, or two answers to who proposes."""
    listed = all(p.name == "fixed_list" for p in spec.all_proposers)
    if not (spec.parents or listed or parents_optional):
        raise SpecError(
            "The key 'parents' is missing or empty.",
            hint="Give at least one crystal to start from, or propose from a fixed_list.",
        )
    if spec.proposers and spec.proposer.name != ProposerSpec().name:
        raise SpecError(
            f"Both 'proposer.name' ({spec.proposer.name}) and 'proposers' say who proposes.",
            hint="Name it among 'proposers' alone; 'proposer' may keep its other keys.",
        )


def check_labs(spec: CampaignSpec) -> None:
    """Refuses labs that cannot be told apart, or of which it is not said whose values count."""
    if spec.labs and spec.lab != LabSpec():
        raise SpecError(
            "Both 'lab' and 'labs' say where candidates are made.",
            hint="Move the one under 'lab' into 'labs'.",
        )
    names = [lab.name for lab in spec.labs]
    if len(spec.labs) > 1 and (not all(names) or len(set(names)) < len(names)):
        raise SpecError(
            "Several labs need a name each, no two the same.",
            hint="Give each of 'labs' a key 'name'.",
        )
    fidelities = {lab.fidelity for lab in spec.labs or (spec.lab,)}
    if fidelities != {None} and (None in fidelities or "dear" not in fidelities):
        raise SpecError(
            "Where one lab has a 'fidelity', each needs one, and one of them is dear.",
            hint="Give 'fidelity: dear' to the lab whose values count.",
        )


def check_restart(spec: CampaignSpec) -> None:
    """Refuses what cannot be read again, and a password that would be stored."""
    sources = [*spec.parents, *(p.options.get("path") for p in spec.all_proposers)]
    if "-" in sources:
        raise SpecError(
            "A campaign cannot read standard input, for it must be able to begin again.",
            hint="`cloudseed propose --list - --out pool.csv` writes a file first.",
        )
    if spec.ledger is not None and re.search(r"://[^/@]*:[^/@]+@", spec.ledger):
        raise SpecError(
            "The ledger URL holds a password.",
            hint="Leave it out and set PGPASSWORD or a ~/.pgpass file.",
        )
