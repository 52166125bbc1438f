"""Bulk modulus from an equation of state, shear modulus from an elastic tensor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cloudseed.lab_adapters.potentials.calculators import load_calculator, maker
from cloudseed.lab_adapters.potentials.outcomes import Breakdown, Ended, measurement
from cloudseed.lab_adapters.potentials.relaxing import guarded

if TYPE_CHECKING:
    from cloudseed.lab_adapters.potentials.relaxing import Relaxed
    from cloudseed.lab_adapters.potentials.settings import MlipSettings
    from cloudseed.lab_adapters.protocols import Measurement

__all__ = ["MODULUS_SIGMA", "bulk_modulus", "shear_modulus"]

MODULUS_SIGMA = 0.06
"""Relative. The choice of strains and the choice between equation of state and elastic tensor each
move CHGNet's bulk modulus by up to 7 %, as measured on SrTiO3, CaTiO3 and GdFeO3."""


def bulk_modulus(relaxed: Relaxed, settings: MlipSettings, details: dict[str, Any]) -> Measurement:
    """Fits a Birch-Murnaghan equation of state; the value is in GPa.

    Raises:
        Ended: If the energy has no minimum there, or no fit is good enough.
    """
    from matcalc import EOSCalc
    from pymatgen.analysis.eos import EOSError

    scan = EOSCalc(
        load_calculator(settings.calculator, settings.device),
        optimizer=settings.optimizer,
        fmax=settings.eos_fmax,
        max_steps=settings.max_steps,
        n_points=settings.eos_points,
        max_abs_strain=settings.eos_strain,
        allow_shape_change=False,
        relax_structure=False,
        relax_calc_kwargs={"fix_symmetry": settings.fix_symmetry},
        r2_min=-1.0,  # matcalc would only warn; the fit is judged below
    )
    try:
        with guarded():
            result = scan.calc(relaxed.structure)
    except EOSError as error:
        words = "no equation of state fits its energies"
        raise Ended(Breakdown.NO_MINIMUM, words) from error
    energies = list(result["eos"]["energies"])
    modulus, r2 = float(result["bulk_modulus_bm"]), float(result["r2_score_bm"])
    told = r2 if math.isfinite(r2) else None
    details["equation_of_state"] = {
        "volumes": [float(v) for v in result["eos"]["volumes"]],
        "energies": [float(e) for e in energies],
        "r2": told,
    }
    lowest = energies.index(min(energies))
    if lowest in (0, len(energies) - 1):
        words = "its energy has no minimum near its relaxed volume"
        raise Ended(Breakdown.NO_MINIMUM, words)
    if not (math.isfinite(modulus) and modulus > 0):
        words = f"its bulk modulus is not positive: {modulus:.1f} GPa"
        raise Ended(Breakdown.ELASTICALLY_UNSTABLE, words)
    if not r2 >= settings.r2_min:
        words = f"no equation of state fits its energies: R2 is {r2:.3f}"
        raise Ended(Breakdown.NO_MINIMUM, words, r2=told)
    method = (
        f"Birch-Murnaghan equation of state by {maker(settings.calculator)[0]} (matcalc EOSCalc),"
        f" {settings.eos_points} points within {settings.eos_strain:.0%} linear strain, atoms"
        " relaxed, shape kept"
    )
    sigma = MODULUS_SIGMA * modulus
    return measurement("bulk_modulus", modulus, sigma, method, "spread of methods and strains")


def shear_modulus(relaxed: Relaxed, settings: MlipSettings, details: dict[str, Any]) -> Measurement:
    """Fits the elastic tensor at two strains; the value is in GPa (Voigt-Reuss-Hill).

    Args:
        relaxed: The structure, relaxed finely.
        settings: What the owner set.
        details: Gets both tensors in GPa.

    Raises:
        Ended: If some strain lowers the energy: the tensor is not positive definite (Mouhat &
            Coudert, Phys. Rev. B 90, 224104 (2014), doi:10.1103/PhysRevB.90.224104).
    """
    import numpy as np

    strains = (settings.elastic_strain / 2, settings.elastic_strain)
    tensors = [_tensor(relaxed, settings, strain) for strain in strains]
    details["elasticity"] = {
        "strains": list(strains),
        "tensors": [np.round(np.asarray(t.voigt), 3).tolist() for t in tensors],
        "bulk_modulus": [float(t.k_vrh) for t in tensors],
        "voigt": [float(t.g_voigt) for t in tensors],
        "reuss": [float(t.g_reuss) for t in tensors],
    }
    for tensor in tensors:
        voigt = np.asarray(tensor.voigt)
        lowest = float(np.linalg.eigvalsh((voigt + voigt.T) / 2)[0])
        if not lowest > 0:
            words = f"a small strain lowers its energy: an elastic modulus is {lowest:.1f} GPa"
            raise Ended(Breakdown.ELASTICALLY_UNSTABLE, words, lowest_modulus_GPa=lowest)
    hill = [(float(t.g_voigt) + float(t.g_reuss)) / 2 for t in tensors]
    bounds = max(abs(float(t.g_voigt) - float(t.g_reuss)) / 2 for t in tensors)
    method = (
        f"elastic tensor by {maker(settings.calculator)[0]} (matcalc ElasticityCalc), mean over"
        f" strains of {strains[0]:g} and {strains[1]:g}, atoms relaxed, Voigt-Reuss-Hill"
    )
    return measurement(
        "shear_modulus",
        sum(hill) / 2,
        math.hypot(bounds, abs(hill[0] - hill[1])),
        method,
        "half of Voigt less Reuss, and the difference between the strains",
    )


def _tensor(relaxed: Relaxed, settings: MlipSettings, strain: float) -> Any:
    """Returns the elastic tensor in GPa; matcalc's own default is eV/angstrom^3."""
    from matcalc import ElasticityCalc

    work = ElasticityCalc(
        load_calculator(settings.calculator, settings.device),
        norm_strains=(-strain, strain),
        shear_strains=(-strain, strain),
        fmax=settings.fine_fmax,
        relax_structure=False,
        relax_deformed_structures=True,
        units_GPa=True,
        relax_calc_kwargs={"optimizer": settings.optimizer, "max_steps": settings.max_steps},
        r2_min=-1.0,  # matcalc's mean counts fits to components that symmetry makes zero
    )
    with guarded():
        return work.calc(relaxed.structure)["elastic_tensor"]
