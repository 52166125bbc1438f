"""Thermal conductivity of the lattice, by phonons that scatter each other.

The relaxation-time solution of phono3py (Togo, Chaput & Tanaka, Phys. Rev. B 91, 094306 (2015),
doi:10.1103/PhysRevB.91.094306), run through matcalc's `Phonon3Calc`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cloudseed.errors import MissingDependencyError
from cloudseed.lab_adapters.potentials.calculators import load_calculator, maker
from cloudseed.lab_adapters.potentials.offers import CONDUCTIVITY, at_kelvin
from cloudseed.lab_adapters.potentials.outcomes import Breakdown, Ended, measurement
from cloudseed.lab_adapters.potentials.relaxing import guarded
from cloudseed.lab_adapters.potentials.vibrations import check_modes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.lab_adapters.potentials.relaxing import Relaxed
    from cloudseed.lab_adapters.potentials.settings import MlipSettings
    from cloudseed.lab_adapters.protocols import Measurement

__all__ = ["check_installed", "conductivities"]

_SUSPECT = 0.2
"""Relative spread between meshes beyond which a value is marked."""


_LARGEST = 1e5
"""W/m/K, beyond any solid's. A supercell too small for phonons to scatter gives more."""


def check_installed() -> None:
    """Says how phono3py is installed, where it is not.

    Raises:
        MissingDependencyError: If it is missing.
    """
    from importlib.util import find_spec

    if find_spec("phono3py") is None:
        raise MissingDependencyError(
            "Thermal conductivity needs phono3py.", hint="pip install 'cloudseed[conductivity]'"
        )


def conductivities(
    relaxed: Relaxed, temperatures: Sequence[float], settings: MlipSettings, details: dict[str, Any]
) -> dict[str, Measurement]:
    """Returns property at a temperature -> conductivity in W/m/K, the mean over three directions.

    Args:
        relaxed: The structure, relaxed finely.
        temperatures: In K.
        settings: What the owner set.
        details: Gets the supercell, the meshes and the number of force calculations.

    Raises:
        Ended: If it would be too dear, a mode is imaginary, or no number comes out.
    """
    import numpy as np

    check_installed()
    factors = [math.ceil(settings.supercell / length) for length in relaxed.structure.lattice.abc]
    supercell = np.diag(factors)
    calls = _force_calls(relaxed, supercell)
    meshes = (settings.conductivity_mesh - 2, settings.conductivity_mesh)
    details["conductivity"] = {
        "supercell": factors,
        "force_calls": calls,
        "meshes": list(meshes),
    }
    if calls > settings.max_force_calls:
        words = f"its conductivity takes {calls} force calculations of {settings.max_force_calls}"
        raise Ended(Breakdown.TOO_DEAR, words, force_calls=calls)
    phonon3 = _phonons(relaxed, supercell, temperatures[0], settings)
    curves = []
    for mesh in meshes:
        curves.append(_conductivity(phonon3, mesh, temperatures))
        lowest = float(phonon3.get_phonon_data()[0].min())
        details["conductivity"]["lowest_frequency_THz"] = lowest
        check_modes(lowest, settings)
    method = (
        f"relaxation-time solution with {maker(settings.calculator)[0]} (matcalc Phonon3Calc),"
        f" supercell {'x'.join(map(str, factors))}, mesh of {meshes[1]} points an axis,"
        " at 0 GPa"
    )
    found = {}
    for kelvin, coarse, fine in zip(temperatures, *curves, strict=True):
        name = at_kelvin(CONDUCTIVITY, kelvin)
        if not 0 < fine < _LARGEST:
            words = f"its conductivity at {kelvin:g} K comes out as {fine:g} W/m/K"
            raise Ended(Breakdown.UNUSABLE, words)
        spread = abs(fine - coarse) if math.isfinite(coarse) else fine
        found[name] = measurement(
            name,
            fine,
            spread,
            method,
            f"difference from a mesh of {meshes[0]}",
            suspect=spread > _SUSPECT * fine,
        )
    return found


def _force_calls(relaxed: Relaxed, supercell: Any) -> int:
    """Returns how many supercells must be computed, before any is."""
    from phono3py import Phono3py
    from pymatgen.io.phonopy import get_phonopy_structure

    plan = Phono3py(
        unitcell=get_phonopy_structure(relaxed.structure),
        supercell_matrix=supercell,
        phonon_supercell_matrix=supercell,
        primitive_matrix="auto",
    )
    plan.generate_displacements()
    return len(plan.supercells_with_displacements) + len(plan.phonon_supercells_with_displacements)


def _phonons(relaxed: Relaxed, supercell: Any, kelvin: float, settings: MlipSettings) -> Any:
    """Returns the phono3py object with its force constants."""
    from matcalc import Phonon3Calc

    work = Phonon3Calc(
        load_calculator(settings.calculator, settings.device),
        fc2_supercell=supercell,
        fc3_supercell=supercell,
        mesh_numbers=(3, 3, 3),  # the meshes that count come after
        relax_structure=False,
        t_min=kelvin,
        t_max=kelvin,
    )
    with guarded():
        return work.calc(relaxed.structure)["phonon3"]


def _conductivity(phonon3: Any, mesh: int, temperatures: Sequence[float]) -> list[float]:
    """Returns the conductivity in W/m/K at each temperature, on a mesh."""
    phonon3.mesh_numbers = (mesh, mesh, mesh)
    phonon3.init_phph_interaction()
    phonon3.run_thermal_conductivity(temperatures=list(temperatures))
    # sigmas x temperatures x (xx, yy, zz, yz, xz, xy)
    tensors = phonon3.thermal_conductivity.kappa[0]
    return [float(row[:3].mean()) for row in tensors]
