"""Parents that ship with pymatgen: the AFLOW library of crystallographic prototypes.

Mehl et al., Comput. Mater. Sci. 136, S1 (2017), doi:10.1016/j.commatsci.2017.01.017, and the parts
that followed, as far as pymatgen bundles them. Nothing is fetched.
"""

from __future__ import annotations

import gzip
import json
import logging
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from cloudseed.crystal import SYMPREC, VACANCY, Cell, Crystal
from cloudseed.errors import StructureError
from cloudseed.proposers.protocols import Parent

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["prototype_parents"]

_LOGGER = logging.getLogger(__name__)
_FULL = 1.0 - 1e-6


def prototype_parents(*, symprec: float = SYMPREC) -> tuple[Parent, ...]:
    """Returns one parent for each bundled prototype that is an ordered crystal.

    A parent is called after its AFLOW label, for instance "AB3C_cP5_221_a_c_b"; prototypes with one
    key make one parent. Disordered ones and those without symmetry are left out, with a log line.

    Args:
        symprec: Tolerance of the symmetry search, in angstrom.
    """
    path = files("pymatgen") / "analysis" / "prototypes" / "aflow_prototypes.json.gz"
    parents: dict[str, Parent] = {}
    names: set[str] = set()
    left_out = 0
    for label, source, cell in _cells(json.loads(gzip.decompress(path.read_bytes()))):
        try:
            crystal = Crystal.from_cell(cell, symprec) if cell else None
        except StructureError:
            crystal = None
        if crystal is None:
            left_out += 1
        elif crystal.key not in parents:
            name = label if label not in names else f"{label} {crystal.formula}"
            names.add(name)
            parents[crystal.key] = Parent(name, crystal, source)
    _LOGGER.info("%d prototypes, %d left out", len(parents), left_out)
    return tuple(parents.values())


def _cells(entries: list[dict[str, Any]]) -> Iterator[tuple[str, str, Cell | None]]:
    for entry in entries:
        tags = entry["tags"]
        names = [tags[k] for k in ("strukturbericht", "mineral") if tags[k] not in ("", "None")]
        source = ", ".join(["AFLOW prototype", tags["aflow"], *names])
        yield tags["aflow"], source, _cell(entry["snl"])


def _cell(raw: dict[str, Any]) -> Cell | None:
    """Returns an ordered cell of elements, or None."""
    species = []
    for site in raw["sites"]:
        (first, *others) = site["species"]
        symbol = {"D": "H", "T": "H"}.get(first["element"], first["element"])
        if others or first["occu"] < _FULL or symbol == VACANCY:
            return None
        species.append(symbol)
    return Cell.from_json(
        {
            "lattice": raw["lattice"]["matrix"],
            "species": species,
            "frac_coords": [site["abc"] for site in raw["sites"]],
        }
    )
