"""The sections that say what is proposed: elements, proposers, filters and quotas."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from cloudseed.loop.spec.values import Section

__all__ = [
    "ElementsSpec",
    "FilterChoice",
    "FilterEntry",
    "ProposerChoice",
    "ProposerEntry",
    "ProposerSpec",
    "QuotasSpec",
]


class ElementsSpec(Section):
    """Which elements candidates may hold.

    Attributes:
        allow: Only these; None for all that are neither forbidden nor radioactive.
        forbid: Never these.
    """

    allow: tuple[str, ...] | None = None
    forbid: tuple[str, ...] = ()


class ProposerSpec(Section):
    """Where candidates come from.

    Attributes:
        name: Entry point in the group `cloudseed.proposers`.
        per_parent: Raw children to look at per parent.
        keep_parents: Whether the parents are candidates too.
    """

    name: str = "ionic_substitution"
    per_parent: int = Field(default=2000, ge=1, le=1_000_000)
    keep_parents: bool = True


class ProposerChoice(Section):
    """One of several proposers.

    Attributes:
        name: Entry point in the group `cloudseed.proposers`.
        options: Its own settings.
        share: Largest share of the candidates that may be its own; None for an even share.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    share: float | None = Field(default=None, ge=0, le=1)


class FilterChoice(Section):
    """A filter.

    Attributes:
        name: For instance "perovskite_tolerance".
        options: Its own settings; files are relative to the campaign file.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class QuotasSpec(Section):
    """How much of the pool may come from where.

    Attributes:
        top: Candidates in the pool; None for all that pass.
        per_parent: Most of one parent.
        per_system: Most of one chemical system.
        parents: Most parents that candidates come from.
        exploration: Share of the pool that is drawn at random instead of likeliest first.
    """

    top: int | None = Field(default=None, ge=1)
    per_parent: int | None = Field(default=None, ge=1)
    per_system: int | None = Field(default=None, ge=1)
    parents: int | None = Field(default=None, ge=1)
    exploration: float = Field(default=0.0, ge=0, le=1)


def _named(value: object) -> object:
    """Turns "name" into {"name": "name"} and {"name": {...}} into a name with options."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1 and "name" not in value:
        ((name, options),) = value.items()
        return {"name": name, "options": {} if options is None else options}
    return value


ProposerEntry = Annotated[ProposerChoice, BeforeValidator(_named)]
"""A proposer as the file writes it: its name, its name with options, or a whole choice."""

FilterEntry = Annotated[FilterChoice, BeforeValidator(_named)]
"""A filter, written likewise."""
