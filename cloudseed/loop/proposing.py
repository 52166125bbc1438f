"""Joins proposers, filters and SCOPE strings: a recipe and parents in, chosen candidates out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from cloudseed.crystal import partition_of
from cloudseed.errors import EmptyPoolError, StructureError
from cloudseed.loop.volumes import is_given, predictor_of, volume_of
from cloudseed.proposers import (
    AllowedElements,
    CellFilter,
    CompositionFilter,
    Generation,
    Kept,
    Observer,
    ProposalContext,
    Reading,
    Verdict,
    generate,
    guarded,
    load_filter,
    load_proposer,
    permitted_elements,
    settings_of,
)
from cloudseed.surrogate import scope_string
from cloudseed.surrogate.scope import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from cloudseed.crystal import Cell, Crystal
    from cloudseed.loop.recipe import Recipe
    from cloudseed.proposers import (
        Candidate,
        Filter,
        FilterResult,
        Observation,
        Parent,
    )

__all__ = ["Past", "Proposal", "Proposals", "Proposed", "counts", "propose_from"]


@dataclass(frozen=True, slots=True)
class Past:
    """What a campaign knows when it proposes again.

    Attributes:
        observations: What was measured, for the proposers that learn from it.
        known: Keys of the candidates that there are.
        references: Observation's name -> the crystal whose volume its children's is predicted from.
    """

    observations: Sequence[Observation] = ()
    known: Collection[str] = ()
    references: Mapping[str, Crystal] = field(default_factory=dict)


_NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A chosen candidate, ready to be written down.

    Attributes:
        kept: The candidate with its papers.
        scope: Its SCOPE string.
        dialect: The string's dialect with its version, for instance "canonical-1".
        scope_path: How the symmetry behind the string was found: "inherited" from the parent,
            "spglib" by a search, or "memo" for a search that another candidate had asked for.
        volume: Predicted volume of the primitive cell in cubic angstrom; None if not asked for.
        verdicts: What late filters said.
    """

    kept: Kept
    scope: str
    dialect: str
    scope_path: str
    volume: float | None = None
    verdicts: tuple[FilterResult, ...] = ()

    @property
    def crystal(self) -> Crystal:
        """The candidate's crystal."""
        return self.kept.candidate.crystal

    def cell(self) -> Cell:
        """Builds the cell, in its predicted volume where there is one."""
        return self.crystal.build(self.volume)

    def papers(self) -> dict[str, Any]:
        """Returns where the candidate comes from, as plain JSON values."""
        found = self.kept.papers()
        found["filters"] += [result.to_json() for result in self.verdicts]
        found["scope"] = {"text": self.scope, "dialect": self.dialect, "path": self.scope_path}
        found["volume"] = {"predictor": predictor_of(self.kept.candidate.operation.name)}
        if self.volume is not None:
            found["volume"]["angstrom3"] = self.volume
        return found


@dataclass(frozen=True, slots=True)
class Proposed:
    """What a recipe made.

    Attributes:
        generation: What was proposed, and why the rest was dropped.
        proposals: The chosen candidates, best first; each is made when it is asked for.
        dropped: (filter, reason) -> chosen candidates that a late filter failed.
        unknown: The same for those that it could not judge.
        short: How many candidates are missing of those that were wanted.
        skipped: For each listed structure that could not be used, why.
    """

    generation: Generation
    proposals: Sequence[Proposal]
    dropped: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unknown: Mapping[tuple[str, str], int] = field(default_factory=dict)
    short: int = 0
    skipped: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Returns how many candidates were proposed, kept and dropped, as JSON values."""
        made = self.generation
        return {
            "raw": made.raw,
            "fruitful": len(made.fruitful),
            "kept": len(self.proposals),
            "duplicates": made.duplicates,
            "known": made.known,
            "dropped": counts(made.dropped) | counts(self.dropped),
            "unknown": counts(made.unknown) | counts(self.unknown),
            "operations": {
                name: {
                    "raw": made.proposed[name],
                    "passed": made.passed.get(name, 0),
                    "kept": made.taken.get(name, 0),
                }
                for name in made.proposed
            },
            "quotas": dict(made.skipped),
            "short": self.short,
            "unusable": list(self.skipped),
        }


def counts(reasons: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Returns counted reasons under one name each."""
    return {f"{name}: {reason}": count for (name, reason), count in reasons.items()}


def propose_from(
    recipe: Recipe,
    parents: tuple[Parent, ...],
    *,
    elements: frozenset[str] | None = None,
    dialect: str = "canonical",
    volumes: bool = False,
    workers: int | None = None,
    past: Past = _NO_PAST,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Proposed:
    """Makes candidates by a recipe.

    Filters that cost too much to be asked of everything are asked of what would be chosen; where
    one fails it, what comes next is chosen in its place.

    Args:
        recipe: What is wanted.
        parents: What to start from; may be none if every proposer does without.
        elements: What may be used besides what the recipe says; None for no limit.
        dialect: Of the SCOPE strings.
        volumes: Whether volumes are predicted; they are where a filter of built cells asks.
        workers: Processes that propose at the same time; None for as many as pay. What is made does
            not depend on it.
        past: What is known already.
        progress: Told the task, how much is done and how much there is.

    Raises:
        UsageError: If the recipe cannot be followed.
        EmptyPoolError: If nothing passes the filters.
        PluginError: If a proposer or filter fails; the message names it.
    """
    allowed = permitted_elements(recipe.allow, recipe.forbid)
    allowed &= allowed if elements is None else elements
    proposers = [load_proposer(choice.name, choice.options) for choice in recipe.proposers]
    for proposer in proposers:
        if isinstance(proposer, Observer):
            with guarded("proposer", proposer.name):
                proposer.observe(past.observations)
    reading = Reading(recipe.symprec, workers or 1, recipe.disorder, progress)
    judges = sorted((load_filter(c.name, c.options, reading) for c in recipe.filters), key=_cost)
    early: list[Filter] = [judge for judge in judges if _cost(judge) < _LATE]  # type: ignore[misc]
    references = {p.name: p.crystal for p in parents} | dict(past.references)
    late = [judge for judge in judges if _cost(judge) >= _LATE]
    closely = _Closely(late, references, recipe.top, progress)
    made = generate(
        proposers,
        ProposalContext(parents, allowed, frozenset(past.known)),
        [AllowedElements(allowed), *early],
        budget=recipe.children,
        rng=np.random.default_rng(recipe.seed),
        keep_parents=recipe.keep_parents,
        known=past.known,
        top=recipe.top,
        quotas=replace(recipe.quotas, even=recipe.even and recipe.top is not None),
        accept=closely if late else None,
        settings={"late": [settings_of(judge) for judge in late], "dialect": dialect},
        workers=workers or _workers(recipe, len(parents)),
        progress=lambda done, of: progress("proposing", done, of),
    )
    if not made.kept:
        raise _nothing_left(made, closely)
    return Proposed(
        generation=made,
        proposals=Proposals(made.kept, _Table(dialect, references, volumes), closely),
        dropped=dict(closely.dropped),
        unknown=dict(closely.unknown),
        short=max(0, (recipe.top or 0) - len(made.kept)),
        skipped=tuple(why for maker in (*proposers, *judges) for why in _skipped(maker)),
    )


def _skipped(maker: object) -> tuple[str, ...]:
    """Returns why structures were left out of a list that a proposer or filter reads."""
    return tuple(getattr(maker, "skipped", ()))


def _workers(recipe: Recipe, parents: int) -> int:
    """Returns how many processes pay for their start with what there is to propose."""
    raw = parents * recipe.children * len(recipe.proposers)
    return max(1, min(len(os.sched_getaffinity(0)), raw // _RAW_PER_WORKER))


_RAW_PER_WORKER = 500_000
"""Raw candidates that take about as long as a process's start; some seconds."""

_LATE = 3


def _cost(judge: Filter | CellFilter) -> int:
    """Returns the rank of what a filter costs; from `_LATE` on too much for what is not chosen."""
    if isinstance(judge, CellFilter):
        return _LATE + 1
    if getattr(judge, "late", False):
        return _LATE
    if isinstance(judge, CompositionFilter):
        return 0
    return 1 if getattr(judge, "depends_on", "crystal") == "composition" else 2


def _nothing_left(made: Generation, closely: _Closely) -> EmptyPoolError:
    if closely.asked:
        reasons = counts(closely.dropped)
        return EmptyPoolError(
            f"None of the {closely.asked} candidates that were looked at closely passed:"
            f" {next(iter(reasons))}.",
            hint="Loosen that filter, add parents, or look at more children per parent.",
            dropped=reasons,
        )
    return EmptyPoolError(
        f"None of {made.raw} proposed candidates passed the filters.",
        hint="Widen the elements, add parents, or look at more children per parent.",
        dropped=counts(made.dropped),
    )


class _Closely:
    """Asks the late filters, cheapest first, and remembers what they said of what they let through.

    Args:
        filters: The late filters.
        references: Name -> crystal, references of volumes.
        wanted: How many candidates are wanted; None for all.
        progress: Told how many were let through.
    """

    def __init__(
        self,
        filters: Sequence[Filter | CellFilter],
        references: Mapping[str, Crystal],
        wanted: int | None,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._filters = filters
        self._references = references
        self._wanted = wanted
        self._progress = progress
        self._same: dict[tuple[FilterResult, ...], tuple[FilterResult, ...]] = {}
        self.said: dict[str, tuple[FilterResult, ...]] = {}
        self.volumes: dict[str, float] = {}
        self.asked = 0
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.unknown: Counter[tuple[str, str]] = Counter()

    def __call__(self, candidate: Candidate) -> bool:
        """Tells whether all of them let a candidate through."""
        self.asked += 1
        cell, verdicts = None, []
        for judge in self._filters:
            try:
                with guarded("filter", judge.name):
                    if isinstance(judge, CellFilter):
                        cell = cell or self._cell(candidate)
                        result = judge.check_cell(candidate, cell)
                    else:
                        result = judge.check(candidate)
            except StructureError as error:
                self.dropped[judge.name, error.message] += 1
                return False
            if result.verdict is Verdict.FAIL:
                self.dropped[result.filter, result.reason] += 1
                return False
            verdicts.append(result)
        for result in verdicts:
            if result.verdict is Verdict.UNKNOWN:
                self.unknown[result.filter, result.reason] += 1
        said = tuple(verdicts)
        self.said[candidate.key] = self._same.setdefault(said, said)
        if cell is not None:
            self.volumes[candidate.key] = cell.volume
        self._progress("choosing", len(self.said), self._wanted or len(self.said))
        return True

    def _cell(self, candidate: Candidate) -> Cell:
        return candidate.crystal.build(_volume(candidate, self._references))


def _volume(candidate: Candidate, references: Mapping[str, Crystal]) -> float:
    known = (references.get(name) for name in candidate.parents)
    reference = next((crystal for crystal in known if crystal), None)
    return volume_of(candidate.crystal, candidate.operation.name, reference)


class Proposals(Sequence[Proposal]):
    """The chosen candidates; each gets its string and volume when it is asked for.

    Args:
        kept: What was kept.
        table: Writes strings and predicts volumes.
        closely: What late filters said.
    """

    def __init__(self, kept: Sequence[Kept], table: _Table, closely: _Closely) -> None:
        self._kept = kept
        self._table = table
        self._closely = closely
        self._noted = 0

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> Proposal: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Proposal, ...]: ...
    def __getitem__(self, index: int | slice) -> Proposal | tuple[Proposal, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(len(self))[index])
        place = range(len(self))[index]
        # Who is searched for and who finds it done goes by the pool's order, not by who is read.
        for earlier in range(self._noted, place):
            self._table.path(self._kept[earlier])
        self._noted = max(self._noted, place)
        kept = self._kept[place]
        verdicts = self._closely.said.get(kept.key, ())
        return self._table.proposal(kept, verdicts, self._closely.volumes.get(kept.key))


class _Table:
    """Writes SCOPE strings and predicts volumes, and remembers what was searched for whom.

    Args:
        dialect: Of the strings.
        references: Name -> crystal, references of volumes.
        volumes: Whether volumes are predicted.
    """

    def __init__(self, dialect: str, references: Mapping[str, Crystal], volumes: bool) -> None:
        self._dialect = dialect
        self._label = f"{dialect}-{DIALECTS[dialect]}"
        self._references = references
        self._volumes = volumes
        self._searched: dict[tuple[str, tuple[int, ...]], str] = {}

    def proposal(
        self, kept: Kept, verdicts: tuple[FilterResult, ...], volume: float | None
    ) -> Proposal:
        """Returns a kept candidate with its string and volume."""
        candidate = kept.candidate
        if volume is None and self._volumes:
            volume = _volume(candidate, self._references)
        return Proposal(
            kept,
            scope_string(candidate.crystal, self._dialect),
            self._label,
            self.path(kept),
            volume,
            verdicts,
        )

    def path(self, kept: Kept) -> str:
        """Tells how the symmetry was found; a root that is not the parent's was searched for.

        Of those that share a search, the first that is asked about had it made.
        """
        candidate = kept.candidate
        crystal = candidate.crystal
        parents = (self._references.get(name) for name in candidate.parents)
        own = any(p is not None and p.root.sha == crystal.root.sha for p in parents)
        if own and crystal.symmetry.inherited and not is_given(candidate.operation.name):
            return "inherited"
        searched = (crystal.root.sha, partition_of(crystal.colouring))
        return "spglib" if self._searched.setdefault(searched, kept.key) == kept.key else "memo"
