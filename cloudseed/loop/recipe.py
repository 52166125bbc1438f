"""A recipe: who proposes, who judges, and how much of it is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudseed.crystal import SYMPREC
from cloudseed.proposers import Quotas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudseed.crystal import Disorder
    from cloudseed.loop.spec import CampaignSpec, ProposerChoice

__all__ = ["Choice", "Recipe"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A proposer or filter by name, with options.

    Attributes:
        name: As registered.
        options: Settings that differ from its defaults.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How candidates are made.

    Attributes:
        proposers: Who proposes, in order.
        filters: Who judges besides the elements.
        allow: Symbols that may be used; None for all that are not radioactive.
        forbid: Symbols that may not.
        children: Raw children per parent and proposer.
        keep_parents: Whether the parents are candidates too.
        top: How many candidates are wanted; None for all.
        quotas: What may come from where.
        even: Whether no parent may give more than its even share, as long as the others can give
            the rest; in place of a quota per parent.
        seed: Of all randomness.
        symprec: Tolerance of every symmetry search, in angstrom.
        disorder: What is done with partly occupied sites of what is listed: "refuse" or "majority".
    """

    proposers: tuple[Choice, ...] = (Choice("ionic_substitution"),)
    filters: tuple[Choice, ...] = (Choice("charge_neutrality"),)
    allow: tuple[str, ...] | None = None
    forbid: tuple[str, ...] = ()
    children: int = 2000
    keep_parents: bool = True
    top: int | None = None
    quotas: Quotas = field(default_factory=Quotas)
    even: bool = False
    seed: int = 0
    symprec: float = SYMPREC
    disorder: Disorder = "refuse"

    @classmethod
    def of(cls, spec: CampaignSpec) -> Recipe:
        """Returns the recipe of a campaign."""
        shares = {p.name: p.share for p in spec.all_proposers if p.share is not None}
        return cls(
            proposers=tuple(_choice(p, spec) for p in spec.all_proposers),
            filters=tuple(Choice(f.name, f.options) for f in spec.filters),
            allow=spec.elements.allow,
            forbid=spec.elements.forbid,
            children=spec.proposer.per_parent,
            keep_parents=spec.proposer.keep_parents,
            top=spec.quotas.top,
            quotas=Quotas(
                shares=shares,
                per_parent=spec.quotas.per_parent,
                per_system=spec.quotas.per_system,
                parents=spec.quotas.parents,
                exploration=spec.quotas.exploration,
            ),
            seed=spec.seed,
            symprec=spec.symprec,
            disorder=spec.disorder,
        )


def _choice(choice: ProposerChoice, spec: CampaignSpec) -> Choice:
    """Returns a proposer; a list is read with the campaign's symprec unless it says otherwise."""
    given = {"symprec": spec.symprec} if choice.name == "fixed_list" else {}
    return Choice(choice.name, given | choice.options)
