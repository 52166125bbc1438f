"""Phonons: the heat capacity at constant volume, and what shows that a structure is unstable.

Finite displacements by phonopy (Togo et al., J. Phys. Condens. Matter 35, 353001 (2023),
doi:10.1088/1361-648X/acd831), run through matcalc.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudseed.crystal import reduced_formula
from cloudseed.lab_adapters.potentials.calculators import load_calculator, maker
from cloudseed.lab_adapters.potentials.offers import HARMONIC, at_kelvin
from cloudseed.lab_adapters.potentials.outcomes import Breakdown, Ended, measurement
from cloudseed.lab_adapters.potentials.relaxing import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.crystal import Cell
    from cloudseed.lab_adapters.potentials.relaxing import Relaxed
    from cloudseed.lab_adapters.potentials.settings import MlipSettings
    from cloudseed.lab_adapters.protocols import Measurement

__all__ = ["SOFTENING", "check_modes", "heat_capacities", "lowest_frequency", "units_in"]

SOFTENING = 1.15
"""How much higher frequencies may be than CHGNet's: universal potentials are too soft (Deng et al.,
npj Comput. Mater. 11, 9 (2025), doi:10.1038/s41524-024-01500-6)."""


_NOISE = 0.5
"""THz by which putting back the sum rule may raise the lowest mode before a value is marked."""


def heat_capacities(
    relaxed: Relaxed, temperatures: Sequence[float], settings: MlipSettings, details: dict[str, Any]
) -> dict[str, Measurement]:
    """Returns property at a temperature -> heat capacity in J/mol/K, per mole of formula units.

    Args:
        relaxed: The structure, relaxed finely.
        temperatures: In K.
        settings: What the owner set.
        details: Gets the frequencies' extent.

    Raises:
        Ended: If a mode is imaginary and the owner did not ask for a flag instead.
    """
    from matcalc import PhononCalc

    work = PhononCalc(
        load_calculator(settings.calculator, settings.device),
        min_length=settings.supercell,
        relax_structure=False,
        write_phonon=False,
        t_min=temperatures[0],
        t_max=temperatures[0],
    )
    with guarded():
        phonon = work.calc(relaxed.structure)["phonon"]
    raw = float(phonon.mesh.frequencies.min())
    lowest = lowest_frequency(phonon)
    details["phonons"] = _told(phonon, raw, lowest)
    unstable = lowest < -settings.imaginary_tolerance
    noisy = lowest - raw > _NOISE
    if unstable and settings.imaginary == "fail":
        check_modes(lowest, settings)
    # A mode of frequency w has at T what one of frequency f w has at f T.
    grid = sorted({t / f for t in temperatures for f in (1.0, SOFTENING)})
    phonon.run_thermal_properties(temperatures=grid, exclude_gamma_acoustic=True)
    per_unit = phonon.thermal_properties.heat_capacity / units_in(relaxed.cell)
    found = dict(zip(grid, per_unit, strict=True))
    method = (
        f"harmonic phonons by {maker(settings.calculator)[0]} (matcalc PhononCalc), supercell of"
        f" at least {settings.supercell:g} angstrom, at 0 GPa, per mole of"
        f" {_formula(relaxed.cell)}"
    )
    names = {at_kelvin(HARMONIC, t): t for t in temperatures}
    return {
        name: measurement(
            name,
            found[t],
            abs(found[t] - found[t / SOFTENING]),
            method,
            f"frequencies {SOFTENING - 1:.0%} higher",
            suspect=unstable or noisy,
        )
        for name, t in names.items()
    }


def lowest_frequency(phonon: Any) -> float:
    """Returns the lowest frequency of a phonopy object in THz; imaginary ones are negative.

    Force constants by finite displacements break the sum rule by the noise of the forces, which
    shows as imaginary acoustic modes near the zone's centre: the rule is put back first.
    """
    phonon.symmetrize_force_constants()
    phonon.run_mesh()
    return float(phonon.mesh.frequencies.min())


def check_modes(lowest: float, settings: MlipSettings) -> None:
    """Refuses a structure whose lowest frequency is imaginary beyond the noise.

    Args:
        lowest: Lowest frequency in THz.
        settings: What the owner set.

    Raises:
        Ended: If it is; the text tells the frequency.
    """
    if lowest < -settings.imaginary_tolerance:
        raise Ended(
            Breakdown.IMAGINARY_MODES,
            f"its lattice is unstable: the lowest mode has {-lowest:.2f}i THz",
            lowest_frequency_THz=lowest,
        )


def units_in(cell: Cell) -> float:
    """Returns the number of formula units in a cell."""
    from pymatgen.core import Composition

    return len(cell.species) / float(Composition(_formula(cell)).num_atoms)


def _formula(cell: Cell) -> str:
    """Returns the formula unit; of an element it is one atom."""
    counts = {symbol: cell.species.count(symbol) for symbol in cell.species}
    return next(iter(counts)) if len(counts) == 1 else reduced_formula(counts)


def _told(phonon: Any, raw: float, lowest: float) -> dict[str, Any]:
    return {
        "lowest_frequency_THz": lowest,
        "lowest_without_sum_rule_THz": raw,
        "highest_frequency_THz": float(phonon.mesh.frequencies.max()),
        "supercell": [int(n) for n in phonon.supercell_matrix.diagonal()],
        "displacements": len(phonon.supercells_with_displacements),
    }
