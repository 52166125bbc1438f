"""The structure at rest, and the energies that follow from it."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudseed.crystal import Cell
from cloudseed.lab_adapters.potentials.calculators import load_calculator, maker
from cloudseed.lab_adapters.potentials.outcomes import Breakdown, Ended, measurement
from cloudseed.lab_adapters.potentials.references import element_energies, known_entries
from cloudseed.units import convert

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pymatgen.core import Structure

    from cloudseed.lab_adapters.potentials.settings import MlipSettings
    from cloudseed.lab_adapters.protocols import Measurement

__all__ = [
    "ENERGY_SIGMA",
    "VOLUME_SIGMA",
    "Relaxed",
    "energies",
    "guarded",
    "relax",
]

ENERGY_SIGMA = 0.03
"""CHGNet's mean absolute error against DFT, eV/atom (Deng et al. 2023)."""

VOLUME_SIGMA = 0.005
"""Relative: what the pressure that `fmax` leaves does at 150 GPa."""

AGAINST_DFT = "mean absolute error against DFT"

LONGEST_BOND = 1.6
"""Times the sum of two covalent radii: beyond it atoms do not touch."""

SHORTEST_BOND = 0.55
"""Times the sum of two covalent radii: below it atoms sit in one another."""


@dataclass(frozen=True, slots=True)
class Relaxed:
    """A relaxed structure.

    Attributes:
        structure: Atoms and cell at rest.
        cell: The same as a `Cell`.
        energy: Total energy of the cell in eV.
        left: What the relaxation left: largest force in eV/angstrom, largest stress in GPa.
    """

    structure: Structure
    cell: Cell
    energy: float
    left: Mapping[str, float]


def relax(cell: Cell, settings: MlipSettings, *, fmax: float | None = None) -> Relaxed:
    """Relaxes atoms and cell.

    Args:
        cell: Where to start.
        settings: What the owner set.
        fmax: Largest force left in eV/angstrom; the owner's by default.

    Raises:
        Ended: If the structure does not survive, or does not come to rest.
    """
    from matcalc import RelaxCalc

    fmax = settings.fmax if fmax is None else fmax
    work = RelaxCalc(
        load_calculator(settings.calculator, settings.device),
        optimizer=settings.optimizer,
        fmax=fmax,
        max_steps=settings.max_steps,
        fix_symmetry=settings.fix_symmetry,
    )
    with guarded():
        result = work.calc(cell.to_structure())
    structure = result["final_structure"]
    _check_shape(cell, structure, settings)
    stress = float(abs(result["stress"]).max())
    force = float(result["max_force"])
    # matcalc looks at forces alone, which symmetry may hold at zero while the cell still moves.
    cell_force = stress * structure.volume / len(structure)
    pressure = convert(stress, "eV/angstrom^3", "GPa")
    left = {"max_force": force, "max_stress": pressure}
    if not (result["is_converged"] and cell_force <= 2 * fmax):
        raise Ended(
            Breakdown.NOT_CONVERGED,
            f"it did not come to rest within {settings.max_steps} steps: {force:.2f} eV/angstrom"
            f" and {pressure:.1f} GPa are left",
            **{name: value if math.isfinite(value) else None for name, value in left.items()},
        )
    return Relaxed(structure, Cell.from_structure(structure), float(result["energy"]), left)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Tells a structure that falls apart under way from a program that fails."""
    from numpy.linalg import LinAlgError

    try:
        yield
    except LinAlgError as error:
        raise Ended(Breakdown.EXPLODED, "its forces are no numbers any more") from error
    except ValueError as error:
        if "isolated atom" in str(error):
            raise Ended(Breakdown.FELL_APART, "it fell apart while relaxing") from error
        raise


def _check_shape(before: Cell, after: Structure, settings: MlipSettings) -> None:
    """Refuses a relaxation that ended in another thing than a crystal like the one asked for."""
    from ase.data import atomic_numbers, covalent_radii

    ratio = after.volume / before.volume
    if not math.isfinite(ratio):
        raise Ended(Breakdown.EXPLODED, "its cell has no volume any more")
    if ratio <= 1 / settings.max_volume_ratio:
        words = f"its cell collapsed to {ratio:.2f} of its volume"
        raise Ended(Breakdown.COLLAPSED, words, volume_ratio=ratio)
    if ratio > settings.max_volume_ratio:
        words = f"its cell exploded to {ratio:.1f} times its volume"
        raise Ended(Breakdown.EXPLODED, words, volume_ratio=ratio)
    radii = [covalent_radii[atomic_numbers[site.specie.symbol]] for site in after]
    first, second, _, distances = after.get_neighbor_list(LONGEST_BOND * 2 * max(radii))
    touching = set()
    for i, j, distance in zip(first, second, distances, strict=True):
        bond = distance / (radii[i] + radii[j])
        if bond < SHORTEST_BOND:
            words = f"two of its atoms came within {distance:.2f} angstrom"
            raise Ended(Breakdown.COLLAPSED, words, distance=float(distance))
        if bond < LONGEST_BOND:
            touching.add(int(i))
    loose = [site.specie.symbol for n, site in enumerate(after) if n not in touching]
    if loose:
        words = f"it fell apart: {loose[0]} touches no other atom"
        raise Ended(Breakdown.FELL_APART, words, element=loose[0])


def energies(
    relaxed: Relaxed, settings: MlipSettings, details: dict[str, Any]
) -> dict[str, Measurement]:
    """Returns what the relaxation alone tells.

    Raises:
        Ended: If the energy is no number.
    """
    species = relaxed.cell.species
    energy = relaxed.energy / len(species)
    volume = relaxed.cell.volume / len(species)
    if not math.isfinite(energy):
        raise Ended(Breakdown.EXPLODED, "its energy is not a number")
    method = f"{maker(settings.calculator)[0]} relaxation (matcalc RelaxCalc)"
    left = "the pressure that the relaxation left"
    found = {
        "energy": measurement("energy", energy, ENERGY_SIGMA, method, AGAINST_DFT),
        "volume": measurement("volume", volume, VOLUME_SIGMA * volume, method, left),
    }
    references = element_energies(settings)
    if references.keys() >= set(species):
        elements = sum(references[e] * n for e, n in Counter(species).items()) / len(species)
        against = f"{method}; elements by the same potential"
        name = "formation_energy"
        found[name] = measurement(name, energy - elements, ENERGY_SIGMA, against, AGAINST_DFT)
    entries = known_entries(settings)
    if entries is not None:
        above = entries.above_hull(species, energy, references)
        details["hull"] = {
            "distance": above,
            "entries": len(entries.phases),
            "sha256": entries.sha256,
        }
        against = f"{method}; hull of {len(entries.phases)} given entries and the elements"
        name = "energy_above_hull"
        # A material below the hull of the others is on the hull once it is among them.
        found[name] = measurement(name, max(above, 0.0), ENERGY_SIGMA, against, AGAINST_DFT)
    return found
