"""Quotas: breadth of what is taken, so that one parent, operation or system does not fill it."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cloudseed.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

__all__ = ["Pick", "Quotas", "Row", "choose"]

FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much of what is taken may come from where.

    Attributes:
        shares: Proposer -> largest share of what is taken, 0 to 1, rounded up to a
            whole candidate. Those not named share what is left evenly, and fill what others leave.
        per_parent: Most candidates of one parent.
        per_system: Most candidates of one chemical system.
        parents: Most parents; one whose children are all known or taken does not count.
        exploration: Share of what is taken that is drawn at random, by probabilities of at least
            `floor`, instead of likeliest first. It has the same share of every quota, so that the
            likeliest do not use it up; what it leaves goes to the likeliest.
        floor: See there.
        even: Whether no parent that has children here may give more than its even share, as long as
            the others can give the rest.

    Raises:
        UsageError: If a number is out of its range.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    per_parent: int | None = None
    per_system: int | None = None
    parents: int | None = None
    exploration: float = 0.0
    floor: float = FLOOR
    even: bool = False

    def __post_init__(self) -> None:
        for name, share in [*self.shares.items(), ("exploration", self.exploration)]:
            if not 0 <= share <= 1:
                raise UsageError(
                    f"The share {share} of {name} is not between 0 and 1.",
                    hint="Give a fraction of what is taken, such as 0.2.",
                )
        if not 0 < self.floor <= 1:
            raise UsageError(
                f"The floor {self.floor} is not a probability above 0.", hint="Give 1e-6 or so."
            )
        for name in ("per_parent", "per_system", "parents"):
            most = getattr(self, name)
            if most is not None and most < 1:
                raise UsageError(
                    f"The quota {name} of {most} takes nothing.", hint="Give a positive number."
                )

    def check(self, proposers: Sequence[str]) -> None:
        """Raises `UsageError` if the shares cannot be met by these proposers."""
        for name in self.shares:
            if name not in proposers:
                near = difflib.get_close_matches(name, proposers, n=1)
                raise UsageError(
                    f"There is a quota for {name!r}, which does not propose.",
                    hint=f"Did you mean {near[0]!r}?"
                    if near
                    else f"One of: {', '.join(proposers)}.",
                )
        total = sum(self.shares.values())
        if all(name in self.shares for name in proposers) and total < 1 - 1e-9:
            raise UsageError(
                f"The shares of all proposers are only {total:g} together.",
                hint="Let them be 1 together, or leave one without a share.",
            )


class Row(NamedTuple):
    """A crystal that may be taken.

    Attributes:
        maker: Name of its proposer.
        parents: Who its parents are; equal for equal parents.
        system: Its chemical system; equal for equal systems.
        log_probability: Natural logarithm.
    """

    maker: str
    parents: tuple[str, ...]
    system: bytes
    log_probability: float


class Pick(NamedTuple):
    """What was taken.

    Attributes:
        places: Places of the rows, in order.
        explored: How many of them, at the end, were drawn at random.
        skipped: Quota -> how many rows it kept out.
        chosen: Whether a choice was made at all.
    """

    places: list[int]
    explored: int
    skipped: Mapping[str, int]
    chosen: bool = True


def choose(
    rows: Sequence[Row],
    top: int,
    quotas: Quotas,
    rng: np.random.Generator,
    accept: Callable[[int], bool] | None = None,
) -> Pick:
    """Takes at most `top` rows: the likeliest of each proposer by turns, then some at random.

    Args:
        rows: Likeliest first within each proposer.
        top: How many are wanted.
        quotas: What may come from where.
        rng: For the rows that are drawn.
        accept: Whether the row at a place may be taken; asked only of rows that would be, once
            each. None for all.
    """
    caps = _Caps(rows, quotas, top, accept)
    explored = round(quotas.exploration * top)
    turns = _by_turns(rows, quotas)
    if not explored:
        return Pick(caps.take(turns, top), 0, caps.skipped)
    caps.reserve(rng)
    taken = caps.take(turns, top - explored)
    caps.release()
    rest = sorted(set(range(len(rows))) - set(taken))
    drawn = caps.take(_drawn(rows, rest, quotas.floor, rng).tolist(), explored)
    gone = {*taken, *drawn}
    left = (place for place in turns if place not in gone)
    taken += caps.take(list(left), top - len(gone)) if len(gone) < top else []
    return Pick(taken + drawn, len(drawn), caps.skipped)


def _by_turns(rows: Sequence[Row], quotas: Quotas) -> list[int]:
    """Returns the places so that each proposer comes as often as its share says."""
    makers = list(dict.fromkeys(row.maker for row in rows))
    unnamed = [maker for maker in makers if maker not in quotas.shares]
    left = max(0.0, 1 - sum(quotas.shares.values()))
    share = {maker: left / len(unnamed) for maker in unnamed} | dict(quotas.shares)
    met: Counter[str] = Counter()
    turns = np.empty(len(rows))
    for place, row in enumerate(rows):
        part = share[row.maker]
        turns[place] = (met[row.maker] + 0.5) / part if part > 0 else math.inf
        met[row.maker] += 1
    return [int(place) for place in np.argsort(turns, kind="stable")]


def _drawn(
    rows: Sequence[Row], rest: Sequence[int], floor: float, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Returns the rest in an order drawn without replacement by floored probabilities.

    Adding Gumbel noise to logarithms and sorting draws so (Vieira 2014; Kool et al. 2019,
    arXiv:1903.06059).
    """
    if not rest:
        return np.zeros(0, dtype=np.intp)
    logs = np.array([rows[place].log_probability for place in rest])
    noisy = np.maximum(logs, math.log(floor)) + rng.gumbel(size=len(rest))
    return np.array(rest, dtype=np.intp)[np.argsort(-noisy, kind="stable")]


class _Caps:
    """Counts what has been taken and refuses what is over a quota."""

    def __init__(
        self,
        rows: Sequence[Row],
        quotas: Quotas,
        top: int,
        accept: Callable[[int], bool] | None,
    ) -> None:
        self._rows = rows
        self._quotas = quotas
        self._most = {name: math.ceil(share * top - 1e-9) for name, share in quotas.shares.items()}
        givers = len({row.parents for row in rows}) if quotas.even else 0
        self._even = math.ceil(top / givers) if givers else math.inf
        self._accept = accept
        self._refused: set[int] = set()
        self._kept_out: dict[int, str] = {}
        self._rng: np.random.Generator | None = None
        self._reserved: dict[object, int] = {}
        self._makers: Counter[str] = Counter()
        self._parents: Counter[tuple[str, ...]] = Counter()
        self._systems: Counter[bytes] = Counter()

    @property
    def skipped(self) -> Mapping[str, int]:
        """Quota -> how many rows it kept out."""
        return dict(sorted(Counter(self._kept_out.values()).items()))

    def reserve(self, rng: np.random.Generator) -> None:
        """Holds back exploration's share of every quota until `release`.

        A quota of a few gives up one more at random, so that the share is right on average.
        """
        self._rng = rng

    def release(self) -> None:
        """Lets quotas be filled."""
        self._rng = None

    def take(self, order: Sequence[int], wanted: int) -> list[int]:
        """Takes places in this order until there are enough, and returns them in it."""
        taken: dict[int, int] = {}
        waiting: list[tuple[int, int]] = []
        for turn, place in enumerate(order):
            if len(taken) >= wanted:
                break
            if self._parents[self._rows[place].parents] >= self._even:
                waiting.append((turn, place))
            elif self._takes(place):
                taken[turn] = place
        for turn, place in waiting:
            if len(taken) >= wanted:
                break
            if self._takes(place):
                taken[turn] = place
        return [taken[turn] for turn in sorted(taken)]

    def _takes(self, place: int) -> bool:
        row = self._rows[place]
        full = self._full(row)
        if full:
            self._kept_out.setdefault(place, full)
            return False
        if place in self._refused:
            return False
        if self._accept is not None and not self._accept(place):
            self._refused.add(place)
            return False
        self._kept_out.pop(place, None)
        self._makers[row.maker] += 1
        self._parents[row.parents] += 1
        self._systems[row.system] += 1
        return True

    def _full(self, row: Row) -> str:
        """Names the quota that keeps a row out, or nothing."""
        quotas = self._quotas
        if self._makers[row.maker] >= self._most.get(row.maker, math.inf):
            return f"share of {row.maker}"
        if self._systems[row.system] >= self._room(quotas.per_system, row.system):
            return "per_system"
        if self._parents[row.parents] >= self._room(quotas.per_parent, row.parents):
            return "per_parent"
        if row.parents not in self._parents and len(self._parents) >= self._room(quotas.parents):
            return "parents"
        return ""

    def _room(self, most: int | None, key: object = None) -> float:
        """Returns how many a quota lets through now, for what it counts."""
        if most is None or self._rng is None:
            return math.inf if most is None else most
        if key not in self._reserved:
            whole, part = divmod(most * self._quotas.exploration, 1)
            self._reserved[key] = int(whole) + int(self._rng.random() < part)
        return most - self._reserved[key]
