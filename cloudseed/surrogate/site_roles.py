"""What is on the sites of a crystal, site by site: element descriptors by the role of a site.

A and B of a perovskite are told apart by what surrounds them, also where it is distorted. So the
sites of all crystals of a pool are sorted into a few roles by the distances to their nearest sites,
whatever is on them, and each role has the mean of the properties of the elements that are there.
With a kernel of its own for each role, a model learns from few measurements what an element does on
one kind of site.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.descriptors import ELEMENT_ROWS, element_properties

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.crystal import Crystal, GeometryRoot

    Array = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

__all__ = ["ROLES", "site_descriptors"]

ROLES = 3
"""Roles at most: with four, one was of a few odd sites, and models were worse."""

#: Surroundings nearer than this, in units of their distances' own, are of one role.
_ALIKE = 0.35
#: Share of what surroundings differ by that roles must explain: of the Materials Project's crystals
#: with moduli .41, where they harm; of perovskites in all distortions .73, where they help most.
_SHARP = 0.6
_ROUNDS = 30
#: Crystals described at once: bounds the memory beside the answer.
_CHUNK = 16_384


def site_descriptors(crystals: Sequence[Crystal]) -> npt.NDArray[np.float32]:
    """Describes what is on the sites of each role, by the properties of the elements.

    The roles are those of the given crystals, so that a pool is described together: each orbit of
    the commonest surroundings first, then what differs most from it, made even by k-means. Sites
    count by their number; of a role that a crystal does not have, or that is empty there, the
    descriptors are zero, the average of all elements.

    Args:
        crystals: n of them. Those of one root cost little.

    Returns:
        n x roles x properties, at most `ROLES` roles; finite. No role where the crystals are so
        unlike that their sites do not fall into a few kinds.
    """
    roots = {crystal.root.sha: crystal.root for crystal in crystals}
    members: dict[str, list[int]] = {sha: [] for sha in roots}
    for row, crystal in enumerate(crystals):
        members[crystal.root.sha].append(row)
    counts = {sha: len(rows) for sha, rows in members.items()}
    roles, number = _roles(roots, counts)
    table = element_properties().astype(np.float64)
    found = np.zeros((len(crystals), number, table.shape[1]), dtype=np.float32)
    if not number:
        return found
    for sha, rows in members.items():
        # Sites of each orbit in each role, orbits x roles.
        sites = np.eye(number)[roles[sha]] * np.array(roots[sha].sites_per_orbit)[:, None]
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            found[some] = _means([crystals[row].colouring for row in some], sites, table)
    return found


def _means(colourings: Sequence[Sequence[str]], sites: Array, table: Array) -> Array:
    """Returns the mean properties of what is on each role's sites, n x roles x p."""
    numbers = np.array([[ELEMENT_ROWS.get(element, -1) for element in row] for row in colourings])
    filled = (numbers >= 0).astype(np.float64)
    amounts = filled[:, :, None] * sites  # n x orbits x roles
    sums = np.einsum("nor,nop->nrp", amounts, table[numbers])
    return np.asarray(sums / np.maximum(amounts.sum(axis=1), 1e-30)[:, :, None])


def _roles(
    roots: Mapping[str, GeometryRoot], counts: Mapping[str, int]
) -> tuple[dict[str, Ints], int]:
    """Returns the role of each orbit of each root, and how many roles there are."""
    if not roots:
        return {}, 1
    around = np.vstack([root.surroundings for root in roots.values()])
    weights = np.concatenate(
        [
            counts[sha] * np.array(root.sites_per_orbit) / len(root.site_orbits)
            for sha, root in roots.items()
        ]
    )
    centres = around[[weights.argmax()]]
    while len(centres) < ROLES:
        far = _distances(around, centres).min(axis=1)
        if far.max() < _ALIKE:
            break
        centres = np.vstack([centres, around[(far * np.sqrt(weights)).argmax()]])
    for _ in range(_ROUNDS):
        role = _distances(around, centres).argmin(axis=1)
        moved = np.array(
            [
                np.average(around[role == k], axis=0, weights=weights[role == k])
                if (role == k).any()
                else centre
                for k, centre in enumerate(centres)
            ]
        )
        if np.allclose(moved, centres):
            break
        centres = moved
    if len(centres) == ROLES and _explained(around, centres[role], weights) < _SHARP:
        return dict.fromkeys(roots, np.zeros(0, dtype=np.int64)), 0
    edges = np.cumsum([len(root.orbits) for root in roots.values()])[:-1]
    return dict(zip(roots, np.split(role, edges), strict=True)), len(centres)


def _explained(around: Array, centres: Array, weights: Array) -> float:
    """Returns the share of the variance of surroundings that is between roles."""
    middle = np.average(around, axis=0, weights=weights)
    within, whole = (
        np.average(((around - at) ** 2).sum(axis=1), weights=weights) for at in (centres, middle)
    )
    return float(1 - within / whole)


def _distances(around: Array, centres: Array) -> Array:
    return np.array([np.linalg.norm(around - centre, axis=1) for centre in centres]).T
