"""Joins proposers, filters and SCOPE strings: a recipe and parents in, chosen candidates out."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.crystal import partition_of
from cloudseed.errors import EmptyPoolError
from cloudseed.proposers import (
    AllowedElements,
    CellFilter,
    Generation,
    Kept,
    Observer,
    ProposalContext,
    Verdict,
    generate,
    load_filter,
    load_proposer,
    permitted_elements,
    predict_volume,
)
from cloudseed.surrogate import scope_string
from cloudseed.surrogate.scope import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cloudseed.crystal import Cell, Crystal
    from cloudseed.loop.recipe import Recipe
    from cloudseed.proposers import Filter, FilterResult, Observation, Parent, Proposer

__all__ = ["Past", "Proposal", "Proposed", "counts", "propose_from"]

_GIVEN = frozenset({"parent", "fixed_list"})
"""Operations whose crystals come with their own volume."""


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
        found["filters"] += [_plain(result) for result in self.verdicts]
        found["scope"] = {"text": self.scope, "dialect": self.dialect, "path": self.scope_path}
        if self.volume is not None:
            found["volume"] = {"angstrom3": self.volume, "predictor": self._predictor()}
        return found

    def _predictor(self) -> str:
        return "as given" if self.kept.candidate.operation.name in _GIVEN else "DLS"


@dataclass(frozen=True, slots=True)
class Proposed:
    """What a recipe made.

    Attributes:
        generation: What was proposed, and why the rest was dropped.
        proposals: The chosen candidates, best first.
        dropped: (filter, reason) -> chosen candidates that a late filter failed.
        unknown: The same for those that it could not judge.
        short: How many candidates are missing of those that were wanted.
    """

    generation: Generation
    proposals: Sequence[Proposal]
    dropped: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unknown: Mapping[tuple[str, str], int] = field(default_factory=dict)
    short: int = 0

    def summary(self) -> dict[str, Any]:
        """Returns how many candidates were proposed, kept and dropped, as JSON values."""
        made = self.generation
        kept = Counter(p.kept.origins[0].proposer for p in self.proposals)
        return {
            "raw": made.raw,
            "kept": len(self.proposals),
            "duplicates": made.duplicates,
            "known": made.known,
            "dropped": counts(made.dropped) | counts(self.dropped),
            "unknown": counts(made.unknown) | counts(self.unknown),
            "operations": {
                name: {
                    "raw": made.proposed[name],
                    "passed": made.passed.get(name, 0),
                    "kept": kept[name],
                }
                for name in made.proposed
            },
            "quotas": dict(made.skipped),
            "short": self.short,
        }


def counts(reasons: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Returns counted reasons under one name each."""
    return {f"{name}: {reason}": count for (name, reason), count in reasons.items()}


def _plain(result: FilterResult) -> dict[str, str]:
    return {
        "filter": result.filter,
        "version": result.version,
        "verdict": str(result.verdict),
        "reason": result.reason,
    }


def propose_from(
    recipe: Recipe,
    parents: tuple[Parent, ...],
    *,
    elements: frozenset[str] | None = None,
    dialect: str = "canonical",
    volumes: bool = False,
    workers: int = 1,
    past: Past = _NO_PAST,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Proposed:
    """Makes candidates by a recipe.

    Args:
        recipe: What is wanted.
        parents: What to start from; may be none if every proposer does without.
        elements: What may be used besides what the recipe says; None for no limit.
        dialect: Of the SCOPE strings.
        volumes: Whether volumes are predicted; they are where a filter of built cells asks.
        workers: Processes that propose at the same time.
        past: What is known already.
        progress: Told the task, how much is done and how much there is.

    Raises:
        UsageError: If the recipe cannot be followed.
        EmptyPoolError: If nothing passes the filters.
    """
    allowed = permitted_elements(recipe.allow, recipe.forbid)
    allowed &= allowed if elements is None else elements
    proposers = [load_proposer(choice.name, choice.options) for choice in recipe.proposers]
    for proposer in proposers:
        if isinstance(proposer, Observer):
            proposer.observe(past.observations)
    judges = [load_filter(choice.name, choice.options) for choice in recipe.filters]
    early: list[Filter] = [judge for judge in judges if not _is_late(judge)]  # type: ignore[misc]
    late = [judge for judge in judges if _is_late(judge)]
    maker = _Maker(recipe, parents, allowed, proposers, early, workers, past.known, progress)
    cells = any(isinstance(judge, CellFilter) for judge in late)
    references = {p.name: p.crystal for p in parents} | dict(past.references)
    table = _Table(dialect, references, volumes or cells)
    return _chosen(maker, table, late, progress)


def _is_late(judge: Filter | CellFilter) -> bool:
    """Tells whether a filter costs too much to be asked of what is not selected."""
    return isinstance(judge, CellFilter) or getattr(judge, "late", False)


@dataclass(frozen=True, slots=True)
class _Maker:
    """A recipe with everything loaded."""

    recipe: Recipe
    parents: tuple[Parent, ...]
    allowed: frozenset[str]
    proposers: Sequence[Proposer]
    filters: Sequence[Filter]
    workers: int
    known: Collection[str]
    progress: Callable[[str, int, int], None]

    def generation(self, top: int | None, per_parent: int | None) -> Generation:
        recipe = self.recipe
        made = generate(
            self.proposers,
            ProposalContext(self.parents, self.allowed),
            [AllowedElements(self.allowed), *self.filters],
            budget=recipe.children,
            rng=np.random.default_rng(recipe.seed),
            keep_parents=recipe.keep_parents,
            known=self.known,
            top=top,
            quotas=replace(recipe.quotas, per_parent=per_parent),
            workers=self.workers,
            progress=lambda done, of: self.progress("proposing", done, of),
        )
        if not made.kept:
            raise EmptyPoolError(
                f"None of {made.raw} proposed candidates passed the filters.",
                hint="Widen the elements, add parents, or look at more children per parent.",
                dropped=counts(made.dropped),
            )
        return made


def _chosen(
    maker: _Maker,
    table: _Table,
    late: Sequence[Filter | CellFilter],
    progress: Callable[[str, int, int], None],
) -> Proposed:
    """Takes as many as are wanted; where late filters fail some, those that come next are taken."""
    recipe, parents = maker.recipe, len(maker.parents)
    wanted, quota = recipe.top, recipe.quotas.per_parent
    share = math.ceil(wanted / parents) if recipe.even and wanted and parents else None
    asked = math.ceil(1.5 * wanted) + 8 if wanted is not None and late else wanted
    if share is not None:
        quota = math.ceil(1.5 * share) + 2
        asked = max(quota * parents, asked or 0)
    while True:
        made = maker.generation(asked, quota)
        taking = _Taking(table, late, wanted, share, progress)
        proposals = taking.of(made)
        dropped, unknown = dict(taking.dropped), dict(taking.unknown)
        if wanted is None and not proposals:
            raise _nothing_left(made, dropped)
        if wanted is None or asked is None or len(proposals) >= wanted:
            return Proposed(made, proposals, dropped, unknown)
        if len(made.kept) == asked:
            asked = 2 * asked
        elif share is not None and quota is not None:
            quota = None if quota > wanted else 4 * quota
        elif proposals:
            return Proposed(made, proposals, dropped, unknown, wanted - len(proposals))
        else:
            raise _nothing_left(made, dropped)


def _nothing_left(made: Generation, dropped: Mapping[tuple[str, str], int]) -> EmptyPoolError:
    reasons = counts(dropped)
    return EmptyPoolError(
        f"None of the {len(made.kept)} candidates that were looked at closely passed:"
        f" {next(iter(reasons), 'nothing was proposed')}.",
        hint="Loosen that filter, add parents, or look at more children per parent.",
        dropped=reasons,
    )


@dataclass(slots=True)
class _Taking:
    """Takes what late filters let through, evenly from all parents as far as that goes."""

    table: _Table
    late: Sequence[Filter | CellFilter]
    wanted: int | None
    share: int | None
    progress: Callable[[str, int, int], None]
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)

    def of(self, made: Generation) -> list[Proposal]:
        """Returns the chosen ones in the order of the generation."""
        taken: dict[int, Proposal] = {}
        waiting: list[tuple[int, Kept]] = []
        given: Counter[tuple[str, ...]] = Counter()
        for place, kept in enumerate(made.kept):
            if len(taken) == self.wanted:
                break
            parents = kept.candidate.parents
            if self.share is not None and given[parents] >= self.share:
                waiting.append((place, kept))
            elif self._take(taken, place, kept):
                given[parents] += 1
        for place, kept in waiting:
            if len(taken) == self.wanted:
                break
            self._take(taken, place, kept)
        return [taken[place] for place in sorted(taken)]

    def _take(self, taken: dict[int, Proposal], place: int, kept: Kept) -> bool:
        proposal = _judged(self.table.proposal(kept), self.late, self.dropped, self.unknown)
        if proposal is None:
            return False
        taken[place] = proposal
        self.progress("choosing", len(taken), self.wanted or len(taken))
        return True


def _judged(
    proposal: Proposal,
    late: Sequence[Filter | CellFilter],
    dropped: Counter[tuple[str, str]],
    unknown: Counter[tuple[str, str]],
) -> Proposal | None:
    candidate, cell, verdicts = proposal.kept.candidate, None, []
    for judge in late:
        if isinstance(judge, CellFilter):
            cell = cell or proposal.cell()
            result = judge.check_cell(candidate, cell)
        else:
            result = judge.check(candidate)
        if result.verdict is Verdict.FAIL:
            dropped[result.filter, result.reason] += 1
            return None
        if result.verdict is Verdict.UNKNOWN:
            unknown[result.filter, result.reason] += 1
        verdicts.append(result)
    return replace(proposal, verdicts=tuple(verdicts))


class _Table:
    """Writes SCOPE strings and predicts volumes, and remembers what was searched before.

    Args:
        dialect: Of the strings.
        parents: Name -> crystal, references of volumes.
        volumes: Whether volumes are predicted.
    """

    def __init__(self, dialect: str, parents: Mapping[str, Crystal], volumes: bool) -> None:
        self._dialect = dialect
        self._label = f"{dialect}-{DIALECTS[dialect]}"
        self._parents = parents
        self._volumes = volumes
        self._searched: set[tuple[str, tuple[int, ...]]] = set()

    def proposal(self, kept: Kept) -> Proposal:
        """Returns a kept candidate with its string and volume."""
        crystal = kept.candidate.crystal
        return Proposal(
            kept,
            scope_string(crystal, self._dialect),
            self._label,
            self._path(crystal),
            self._volume(kept) if self._volumes else None,
        )

    def _path(self, crystal: Crystal) -> str:
        if crystal.symmetry.inherited:
            return "inherited"
        searched = (crystal.root.sha, partition_of(crystal.colouring))
        if searched in self._searched:
            return "memo"
        self._searched.add(searched)
        return "spglib"

    def _volume(self, kept: Kept) -> float:
        candidate = kept.candidate
        cell = candidate.crystal.build()
        if candidate.operation.name in _GIVEN:
            return cell.volume
        known = (self._parents.get(name) for name in candidate.parents)
        return predict_volume(cell, next((crystal for crystal in known if crystal), None))
