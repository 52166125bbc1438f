"""One structure that a source offers, not yet parsed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudseed._parsing import LIMITS, Task
from cloudseed.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.crystal import Source

__all__ = ["Entry", "sites_task", "too_many_sites"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A structure that a source offers.

    Attributes:
        name: How people call it.
        origin: Where it comes from: a file, a row of a table, a database entry.
        source: What `read_crystals` takes; an error where the source itself says it is unusable.
        values: Numbers that the source gives beside it, for instance an energy.
    """

    name: str
    origin: str
    source: Source | StructureError
    values: Mapping[str, float] = field(default_factory=dict)


def sites_task(
    name: str,
    lattice: Sequence[Sequence[float]],
    species: Sequence[Mapping[str, float]],
    frac_coords: Sequence[Sequence[float]],
) -> Task | StructureError:
    """Returns a list of sites for the parser, or the error that it is too long.

    Args:
        name: What messages call it.
        lattice: Row vectors in angstrom.
        species: For each site element -> occupancy.
        frac_coords: Fractional coordinates.
    """
    if len(species) > LIMITS.sites:
        return too_many_sites(name, len(species))
    plain = {
        "lattice": [[float(x) for x in row] for row in lattice],
        "species": [{str(e): float(x) for e, x in site.items()} for site in species],
        "frac_coords": [[float(x) for x in row] for row in frac_coords],
    }
    return Task(name, "sites", json.dumps(plain))


def too_many_sites(name: str, sites: int) -> StructureError:
    """Returns the error that a cell is too large to be parsed."""
    return StructureError(
        f"{name}: the cell has {sites} sites; at most {LIMITS.sites} are taken.",
        hint="Give a smaller cell.",
        source=name,
    )
