"""Subsets of a crystal's sites that symmetry tells apart, and the roots that they make.

Replacing some of an element's sites gives as many children as there are subsets that no operation
of the space group maps onto each other; each stands for all its images.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cloudseed.crystal import Crystal, GeometryRoot

__all__ = ["Colours", "Subset", "coloured", "distinct_subsets", "element_sites"]

MOST_SITES = 12
"""Elements on more sites than these are sampled: 12 sites have 4,094 proper subsets."""

_ATTEMPTS = 4


class Subset(NamedTuple):
    """Some sites of an element.

    Attributes:
        sites: Places in the root's cell, rising.
        weight: Share of its images among all subsets of its size.
    """

    sites: tuple[int, ...]
    weight: float


class Colours(NamedTuple):
    """A root whose orbits tell some sets of sites from the rest of their elements.

    Attributes:
        root: The crystal's own root where the sets are whole orbits, else one with split orbits.
        classes: For each orbit of it a class: the elements in order of the composition, then the
            sets, then what is empty.
        orbit_map: For each orbit the orbit of the crystal's root; None where it is the same root.
    """

    root: GeometryRoot
    classes: tuple[int, ...]
    orbit_map: tuple[int, ...] | None


def element_sites(crystal: Crystal, element: str) -> tuple[int, ...]:
    """Returns the sites of an element in its root's cell."""
    return tuple(
        site
        for site, orbit in enumerate(crystal.root.site_orbits)
        if crystal.colouring[orbit] == element
    )


def coloured(crystal: Crystal, sets: Sequence[Iterable[int]]) -> Colours:
    """Returns the root that tells some sets of sites from the others.

    spglib runs once for each root and partition of its sites, and not at all for whole orbits.

    Args:
        crystal: The crystal.
        sets: Sites; no site in two sets.
    """
    root = crystal.root
    places = {element: place for place, element in enumerate(crystal.composition)}
    empty = len(places) + len(sets)
    by_orbit = [places.get(element, empty) for element in crystal.colouring]
    labels = [by_orbit[orbit] for orbit in root.site_orbits]
    for number, sites in enumerate(sets):
        for site in sites:
            labels[site] = len(places) + number
    on_orbit = [set[int]() for _ in root.orbits]
    for orbit, label in zip(root.site_orbits, labels, strict=True):
        on_orbit[orbit].add(label)
    if all(len(found) == 1 for found in on_orbit):
        return Colours(root, tuple(found.pop() for found in on_orbit), None)
    split = root.split(labels)
    classes = tuple(labels[site] for site in split.first_sites)
    return Colours(split, classes, root.orbit_map(split))


def distinct_subsets(
    crystal: Crystal,
    sites: Sequence[int],
    cap: int,
    rng: np.random.Generator,
    size: int | None = None,
) -> list[Subset]:
    """Returns proper subsets of an element's sites that no operation maps onto each other.

    All of them, smallest first, where there are at most `cap`; else as many, drawn by weight. Of
    elements on more than `MOST_SITES` sites only subsets of one, of all but one, and drawn ones
    are looked at.

    Args:
        crystal: The crystal; its colouring must be that of its root's parent.
        sites: The element's sites.
        cap: Most subsets.
        rng: For drawing.
        size: How many sites; None for any number.
    """
    places = {site: place for place, site in enumerate(sites)}
    moves = np.unique(
        [
            [places[site] for site in moved]
            for moved in crystal.root.permutations[:, sites].tolist()
        ],
        axis=0,
    )
    found: dict[tuple[int, ...], float] = {}
    for chosen in _tried(len(sites), cap, rng, size):
        images = {tuple(image) for image in np.sort(moves[:, chosen], axis=1).tolist()}
        first = min(images)
        if first not in found:
            found[first] = len(images) / math.comb(len(sites), len(chosen))
    subsets = [Subset(tuple(sites[i] for i in chosen), w) for chosen, w in found.items()]
    if len(subsets) <= cap:
        return subsets
    noisy = np.log([subset.weight for subset in subsets]) + rng.gumbel(size=len(subsets))
    return [subsets[i] for i in sorted(np.argsort(-noisy, kind="stable")[:cap].tolist())]


def _tried(sites: int, cap: int, rng: np.random.Generator, size: int | None) -> Iterator[list[int]]:
    """Yields proper subsets to look at, as places."""
    sizes = range(1, sites) if size is None else [size]
    if sites <= MOST_SITES:
        for count in sizes:
            yield from map(list, combinations(range(sites), count))
        return
    for count in {1, sites - 1} & set(sizes):
        yield from map(list, combinations(range(sites), count))
    for _ in range(_ATTEMPTS * cap):
        count = int(rng.choice(list(sizes)))
        yield sorted(rng.choice(sites, count, replace=False).tolist())
