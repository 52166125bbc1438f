"""The whole campaign file: its sections, and the settings that belong to none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from cloudseed.crystal import SYMPREC, Disorder
from cloudseed.loop.safety import SafetySpec
from cloudseed.loop.spec import checks
from cloudseed.loop.spec.candidates import (
    ElementsSpec,
    FilterChoice,
    FilterEntry,
    ProposerChoice,
    ProposerEntry,
    ProposerSpec,
    QuotasSpec,
)
from cloudseed.loop.spec.deciding import DecideSpec, SurrogateSpec
from cloudseed.loop.spec.ending import BudgetSpec, StopSpec
from cloudseed.loop.spec.labs import LabSpec
from cloudseed.loop.spec.values import NAME, Duration, Section
from cloudseed.surrogate import Problem, parse_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PARENTS_OPTIONAL", "CampaignSpec"]

PARENTS_OPTIONAL = "parents_optional"
"""Key of the validation context that lets a campaign do without parents."""


def _together(value: object) -> object:
    """Turns a list of objectives into one text."""
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
        return "; ".join(value)
    return value


class CampaignSpec(Section):
    """A campaign.

    Attributes:
        name: Letters, digits, dots, hyphens and underscores.
        description: For people.
        parents: Files, folders or patterns of parent crystals, relative to the campaign file;
            "prototypes", "mp:..." or "optimade:...". May be empty if every proposer does without.
        disorder: What is done with parents' partly occupied sites: "refuse" or "majority".
        skip_bad: Whether parents that cannot be used are left out.
        symprec: Tolerance of every symmetry search, in angstrom.
        objective: For instance "max bulk_modulus", "band_gap = 1.4 eV" for a target, "band_gap in
            [1.5, 3.0] eV" for all materials in a window, "find lowest 1 % formation_energy", or
            "find all" that meet the constraints. A list of several optima seeks their front.
        derived: Name -> formula of properties that are computed from measured ones, such as
            "shear_modulus / bulk_modulus"; they may be sought and bounded like any other.
        reference: Property -> value, of each objective of several, that is just not worth having;
            the front's hypervolume counts from there.
        constraints: For instance "formation_energy <= -2.0 eV/atom".
        elements: Which elements may be used.
        proposer: Where candidates come from.
        proposers: Several of them, in place of the one that `proposer` names.
        filters: Which filters judge candidates besides the elements.
        quotas: How much of the pool may come from where.
        lab: Where they are made.
        labs: Several labs, in place of the one that `lab` names. Each experiment goes to the
            cheapest that can do it and has room.
        encoder: A shipped name, a folder or a hub id.
        budget: What may be spent.
        stop: When to stop before that.
        safety: What may go to labs that are not simulated; closed by default.
        decide: How experiments are chosen.
        surrogate: What models the properties.
        batch: Experiments chosen per decision.
        initial: Experiments chosen for coverage before a model chooses.
        regrow: New measurements after which proposers that learn from them are asked again, such as
            `evolution`; None for twice `batch`.
        in_flight: Experiments that run at the same time.
        attempts: How often an experiment whose instrument failed is tried in all.
        step_deadline: Seconds, or a text such as "2 h", after which a step of the engine counts as
            hung; its lease then ends, and `cloudseed worker` starts anew.
        seed: Seed of all randomness.
        ledger: Database URL; None for SQLite in the run folder. Never with a password.
    """

    name: str = Field(pattern=NAME)
    description: str = ""
    parents: tuple[str, ...] = ()
    disorder: Disorder = "refuse"
    skip_bad: bool = False
    symprec: float = Field(default=SYMPREC, ge=1e-6, le=0.5)
    objective: Annotated[str, BeforeValidator(_together)]
    derived: dict[str, str] = Field(default_factory=dict)
    reference: dict[str, str | float] = Field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    elements: ElementsSpec = ElementsSpec()
    proposer: ProposerSpec = ProposerSpec()
    proposers: tuple[ProposerEntry, ...] = ()
    filters: tuple[FilterEntry, ...] = (FilterChoice(name="charge_neutrality"),)
    quotas: QuotasSpec = QuotasSpec()
    lab: LabSpec = LabSpec()
    labs: tuple[LabSpec, ...] = ()
    encoder: str = "cloud-small"
    budget: BudgetSpec
    stop: StopSpec = StopSpec()
    safety: SafetySpec = SafetySpec()
    decide: DecideSpec = DecideSpec()
    surrogate: SurrogateSpec = SurrogateSpec()
    batch: int = Field(default=4, ge=1, le=1000)
    initial: int = Field(default=8, ge=1)
    regrow: int | None = Field(default=None, ge=1)
    in_flight: int = Field(default=2, ge=1)
    attempts: int = Field(default=3, ge=1)
    step_deadline: Duration = 7200.0
    seed: int = Field(default=0, ge=0)
    ledger: str | None = None

    @property
    def problem(self) -> Problem:
        """The objective and constraints, parsed."""
        return parse_problem(self.objective, self.constraints, self.reference, self.derived)

    @property
    def all_labs(self) -> tuple[LabSpec, ...]:
        """Where candidates are made, in order."""
        return self.labs or (self.lab,)

    @property
    def lab_labels(self) -> tuple[str, ...]:
        """What the labs are called; "" for one that names itself."""
        return tuple(lab.name for lab in self.all_labs)

    def lab_of(self, name: str) -> LabSpec:
        """Returns a lab's settings, by what the campaign calls it."""
        found = [lab for lab in self.all_labs if lab.name == name]
        found += [lab for lab in self.all_labs if not lab.name]
        return found[0] if found else self.all_labs[0]

    @property
    def sources(self) -> Callable[[str], int] | None:
        """Lab -> 0 for values that count, 1 for those that hint; None where all labs are alike."""
        if all(lab.fidelity != "cheap" for lab in self.all_labs):
            return None
        return lambda name: int(self.lab_of(name).fidelity == "cheap")

    def hints(self, name: str) -> bool:
        """Whether the values of a lab only hint at what counts."""
        return self.sources is not None and bool(self.sources(name))

    def prices(self, name: str) -> Mapping[str, str]:
        """Returns what an experiment in a lab may cost, by resource."""
        return self.lab_of(name).costs

    @property
    def all_proposers(self) -> tuple[ProposerChoice, ...]:
        """Who proposes, in order."""
        return self.proposers or (ProposerChoice(name=self.proposer.name),)

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> CampaignSpec:
        optional = bool(info.context and info.context.get(PARENTS_OPTIONAL))
        checks.check_goal(self)
        checks.check_proposing(self, parents_optional=optional)
        checks.check_labs(self)
        checks.check_restart(self)
        return self
