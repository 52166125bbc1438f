"""Parents: structures from any source, refined, each crystal once."""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from cloudseed.crystal import SYMPREC, Crystal, read_crystals
from cloudseed.errors import InputError, StructureError, UsageError
from cloudseed.proposers.protocols import Parent
from cloudseed.proposers.prototypes import prototype_parents
from cloudseed.proposers.sources import PROTOTYPES, Entry, find_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cloudseed.crystal import Disorder, Source

__all__ = ["ParentSet", "Reading", "counted", "load_parents", "read_entries", "read_parents"]

_LOGGER = logging.getLogger(__name__)

EMPTIEST = 150.0
"""Cubic angstrom per atom above which a cell holds a molecule in vacuum; caesium has 115."""

_TOGETHER = 256
_COUNTABLE = 10_000


@dataclass(frozen=True, slots=True)
class Reading:
    """How structures are read, the same for parents and for what counts as known.

    Attributes:
        symprec: Tolerance of the symmetry search, in angstrom.
        workers: Processes that parse at the same time.
        disorder: What is done with partly occupied sites: "refuse" or "majority".
        progress: Told the task, how much is done and how much there is, 0 where nobody knows.
    """

    symprec: float = SYMPREC
    workers: int = 1
    disorder: Disorder = "refuse"
    progress: Callable[[str, int, int], None] = lambda *_: None


@dataclass(frozen=True, slots=True)
class ParentSet:
    """Parents, and what could not be one.

    Attributes:
        parents: The parents, each crystal once.
        skipped: For each structure left out, why.
    """

    parents: tuple[Parent, ...]
    skipped: tuple[str, ...] = ()


def load_parents(
    sources: Iterable[str | Path] | str | Path, *, symprec: float = SYMPREC, workers: int = 1
) -> tuple[Parent, ...]:
    """Reads the crystals to start from; the first that cannot be used is an error.

    See `read_parents`.
    """
    return read_parents(sources, symprec=symprec, workers=workers).parents


def read_parents(
    sources: Iterable[str | Path] | str | Path,
    *,
    symprec: float = SYMPREC,
    workers: int = 1,
    disorder: Disorder = "refuse",
    skip_bad: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> ParentSet:
    """Reads the crystals to start from.

    A parent is called after its file, with the folder where two files have the same name, or by
    its id where it comes from a list or database. Structures that are the same crystal, by its
    key, become one parent whose source names them all.

    Args:
        sources: As in `find_entries`; or "prototypes" for those that are bundled.
        symprec: Tolerance of the symmetry search, in angstrom.
        workers: Processes that parse at the same time.
        disorder: What is done with partly occupied sites: "refuse", or "majority" to give each to
            whatever is on most of it; the parent's source then says so.
        skip_bad: Whether structures that cannot be used are left out and counted.
        progress: Told the task, how much is done and how much there is, 0 where nobody knows.

    Raises:
        UsageError: If no source is named, nothing is found or nothing can be used.
        InputError: If a structure cannot be used; names the first and counts the others.
    """
    asked = [sources] if isinstance(sources, str | Path) else list(sources)
    if not asked:
        raise UsageError(
            "No parents are given.", hint="Give files, a folder or a pattern such as parents/*.cif."
        )
    bundled = prototype_parents(symprec=symprec) if PROTOTYPES in asked else ()
    entries, total = counted(find_entries(source for source in asked if source != PROTOTYPES))
    read: list[tuple[Entry, str, Crystal]] = []
    errors: list[InputError] = []
    results = read_entries(entries, symprec=symprec, workers=workers, disorder=disorder)
    for done, (entry, note, result) in enumerate(results, start=1):
        progress("reading parents", done, total)
        found = _refused_if_empty(entry, result) if isinstance(result, Crystal) else result
        if isinstance(found, Crystal):
            read.append((replace(entry, source=""), note, found))
        else:
            errors.append(found)
    if errors and not (skip_bad and (read or bundled)):
        raise _first_of(errors)
    if not read and not bundled:
        raise UsageError("No parents are found.", hint="Are the files or tables empty?")
    return ParentSet(_with_bundled(_merged(read), bundled), tuple(e.message for e in errors))


def read_entries(
    entries: Iterable[Entry],
    *,
    symprec: float = SYMPREC,
    workers: int = 1,
    disorder: Disorder = "refuse",
) -> Iterator[tuple[Entry, str, Crystal | InputError]]:
    """Yields each entry with a note on what was done to it and its crystal or error.

    Entries are taken a few at a time, so that a list may be longer than memory.

    Args:
        entries: What sources offer.
        symprec: Tolerance of the symmetry search, in angstrom.
        workers: Processes that parse at the same time.
        disorder: As in `read_parents`.
    """
    results = _strictly(entries, symprec, workers)
    if disorder == "refuse":
        for entry, result in results:
            yield entry, "", result
        return
    while read := list(islice(results, _TOGETHER)):
        again = [e.source for e, result in read if _disordered(result)]
        ordered = read_crystals(again, symprec=symprec, workers=workers, disorder=disorder)  # type: ignore[arg-type]
        for entry, result in read:
            mended = _disordered(result)
            yield entry, f"ordered by {disorder}" * mended, next(ordered) if mended else result


def _strictly(
    entries: Iterable[Entry], symprec: float, workers: int
) -> Iterator[tuple[Entry, Crystal | InputError]]:
    """Yields entries in order, each with its crystal or error; disordered ones are refused."""
    waiting: deque[Entry] = deque()

    def sources() -> Iterator[Source]:
        for entry in entries:
            waiting.append(entry)
            if not isinstance(entry.source, StructureError):
                yield entry.source

    def unusable() -> Iterator[tuple[Entry, StructureError]]:
        while waiting and isinstance(waiting[0].source, StructureError):
            yield waiting[0], waiting.popleft().source  # type: ignore[misc]

    for result in read_crystals(sources(), symprec=symprec, workers=workers):
        yield from unusable()
        yield waiting.popleft(), result
    yield from unusable()


def counted(entries: Iterable[Entry]) -> tuple[Iterator[Entry], int]:
    """Returns entries and their number, 0 where they are too many to hold at once."""
    rest = iter(entries)
    first = list(islice(rest, _COUNTABLE))
    return chain(first, rest), len(first) if len(first) < _COUNTABLE else 0


def _disordered(result: Crystal | InputError) -> bool:
    return isinstance(result, StructureError) and bool(result.data.get("disordered"))


def _refused_if_empty(entry: Entry, crystal: Crystal) -> Crystal | InputError:
    atoms = sum(crystal.composition.values())
    if atoms == 0:
        return StructureError(f"{entry.origin} holds no atoms.", hint="Check that it is complete.")
    volume = crystal.build().volume / atoms
    if volume <= EMPTIEST:
        return crystal
    return StructureError(
        f"{entry.origin} has {volume:.0f} cubic angstrom per atom: a molecule in vacuum.",
        hint="Only crystals can be parents.",
        source=entry.origin,
    )


def _first_of(errors: list[InputError]) -> InputError:
    first = errors[0]
    if len(errors) == 1:
        return first
    others = len(errors) - 1
    return type(first)(
        f"{first.message} {others} more {'file' if others == 1 else 'files'} cannot be used.",
        hint=first.hint,
        **first.data,
        others=[error.message for error in errors[1:]],
    )


def _names(entries: Sequence[Entry]) -> list[str]:
    """Returns names that tell entries apart.

    Files get the shortest ends of their paths that differ; others their origin where need be.
    """
    names = [entry.name for entry in entries]
    paths = [Path(entry.origin).with_name(entry.name) for entry in entries]
    for depth in range(2, max(len(path.parts) for path in paths) + 1):
        counts = Counter(names)
        names = [
            "/".join(path.parts[-depth:]) if counts[name] > 1 else name
            for name, path in zip(names, paths, strict=True)
        ]
    counts = Counter(names)
    return [
        entry.origin if counts[name] > 1 else name
        for name, entry in zip(names, entries, strict=True)
    ]


def _with_bundled(own: tuple[Parent, ...], bundled: tuple[Parent, ...]) -> tuple[Parent, ...]:
    """Returns the user's parents and those bundled ones that are none of them."""
    keys, names = {p.crystal.key for p in own}, {p.name for p in own}
    more = [p for p in bundled if p.crystal.key not in keys and p.name not in names]
    return (*own, *more)


def _merged(read: Sequence[tuple[Entry, str, Crystal]]) -> tuple[Parent, ...]:
    if not read:
        return ()
    parents: dict[str, Parent] = {}
    names = _names([entry for entry, _, _ in read])
    for name, (entry, note, crystal) in zip(names, read, strict=True):
        source = f"{entry.origin} ({note})" if note else entry.origin
        first = parents.get(crystal.key)
        if first is None:
            parents[crystal.key] = Parent(name, crystal, source, values=entry.values)
            continue
        _LOGGER.warning(
            "%s and %s hold the same crystal; one parent is made of them.",
            first.source,
            source,
            extra={"key": crystal.key},
        )
        parents[crystal.key] = replace(first, source=f"{first.source}; {source}")
    return tuple(parents.values())
