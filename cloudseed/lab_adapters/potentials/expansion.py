"""Quasi-harmonic properties: what a lattice does at a temperature and a pressure.

Phonons at several volumes, by matcalc's `QHACalc` over phonopy (Togo et al., Phys. Rev. B 81,
174301 (2010), doi:10.1103/PhysRevB.81.174301).
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from cloudseed.lab_adapters.potentials.calculators import load_calculator, maker
from cloudseed.lab_adapters.potentials.outcomes import Breakdown, Ended, measurement
from cloudseed.lab_adapters.potentials.relaxing import guarded
from cloudseed.lab_adapters.potentials.vibrations import check_modes, lowest_frequency, units_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.lab_adapters.potentials.relaxing import Relaxed
    from cloudseed.lab_adapters.potentials.settings import MlipSettings
    from cloudseed.lab_adapters.protocols import Measurement

__all__ = ["quasi_harmonic"]

_STEP = 10.0
"""Kelvin between the temperatures at which the free energy is minimised."""

_FITS = ("vinet", "birch_murnaghan", "murnaghan")
"""The first gives the values, the others the spread."""

_SUSPECT = 0.2
"""Relative spread beyond which a value is marked."""

_NO_FIT = "no equation of state fits its free energies"

_POSITIVE = ("bulk_modulus", "heat_capacity_p", "volume")


def quasi_harmonic(
    relaxed: Relaxed,
    wanted: Mapping[float, Sequence[str]],
    settings: MlipSettings,
    details: dict[str, Any],
) -> dict[str, Measurement]:
    """Returns property at a temperature -> value, at the owner's pressure.

    Args:
        relaxed: The structure, relaxed finely.
        wanted: Temperature in K -> properties without the temperature.
        settings: What the owner set.
        details: Gets volumes, energies and lowest frequencies of the scan.

    Raises:
        Ended: If the structure is unstable, or the scan does not hold its volume at a temperature.
    """
    result = _scan(relaxed, max(wanted), settings)
    lowest = [lowest_frequency(each["phonon"]) for each in result["ha"]]
    volumes = [float(v) for v in result["volumes"]]
    details["quasi_harmonic"] = {
        "pressure_GPa": settings.pressure,
        "volumes": volumes,
        "energies": [float(e) for e in result["electronic_energies"]],
        "lowest_frequencies_THz": lowest,
    }
    check_modes(lowest[len(lowest) // 2], settings)
    bad = [n for n, f in enumerate(lowest) if f < -settings.imaginary_tolerance]
    if bad:
        ratio = volumes[bad[0]] / volumes[len(volumes) // 2]
        raise Ended(
            Breakdown.UNUSABLE,
            f"at {ratio:.3f} of its volume its lattice is unstable ({-lowest[bad[0]]:.2f}i THz),"
            " so that the quasi-harmonic scan says nothing",
            lowest_frequency_THz=lowest[bad[0]],
            volume_ratio=ratio,
        )
    thermal = _thermal(result)
    fits = [_fitted(result, thermal, relaxed, fit, settings) for fit in _FITS]
    kind = f"{maker(settings.calculator)[0]} (matcalc QHACalc) at {settings.pressure:g} GPa"
    method = f"quasi-harmonic phonons by {kind}, {settings.qha_points} volumes, Vinet fit"
    found = {}
    for kelvin, names in wanted.items():
        at = [fit(kelvin) for fit in fits]
        _check(at[0], kelvin, volumes, len(relaxed.cell.species))
        for name in names:
            values = [each[name] for each in at if math.isfinite(each[name])]
            spread = max(values) - min(values)
            full = f"{name}@{kelvin:.12g}K"
            kinds = "spread of three equations of state"
            value = at[0][name]
            suspect = spread > _SUSPECT * abs(value)
            found[full] = measurement(full, value, spread, method, kinds, suspect=suspect)
    return found


def _scan(relaxed: Relaxed, hottest: float, settings: MlipSettings) -> dict[str, Any]:
    import numpy as np
    from matcalc import QHACalc

    # The fit's derivatives need points beyond the hottest one.
    end = math.ceil(hottest / _STEP + 2) * _STEP
    work = QHACalc(
        load_calculator(settings.calculator, settings.device),
        t_step=_STEP,
        t_max=end,
        pressure=settings.pressure,
        fmax=settings.fine_fmax,
        max_steps=settings.max_steps,
        optimizer=settings.optimizer,
        relax_structure=False,
        relax_calc_kwargs={"fix_symmetry": settings.fix_symmetry},
        phonon_calc_kwargs={"min_length": settings.supercell},
        scale_factors=tuple(
            1 + float(s)
            for s in np.linspace(-settings.qha_strain, settings.qha_strain, settings.qha_points)
        ),
    )
    with guarded():
        found: dict[str, Any] = work.calc(relaxed.structure)
    return found


def _thermal(result: dict[str, Any]) -> list[Any]:
    """Returns each volume's thermal properties, from the force constants that obey the sum rule."""
    import numpy as np

    # phonopy's derivatives need one temperature more than there are values.
    grid = np.append(result["temperatures"], result["temperatures"][-1] + _STEP)
    phonons = [each["phonon"] for each in result["ha"]]
    for phonon in phonons:
        # The crystal moving as a whole is no vibration; the rounding of its zero would be noise.
        phonon.run_thermal_properties(temperatures=grid, exclude_gamma_acoustic=True)
    return [phonon.thermal_properties for phonon in phonons]


def _fitted(
    result: dict[str, Any], thermal: list[Any], relaxed: Relaxed, eos: str, settings: MlipSettings
) -> Any:
    """Returns a function of the temperature that gives every property in its own unit."""
    import numpy as np
    from phonopy import PhonopyQHA

    with warnings.catch_warnings():
        # Its successor computes the phonons anew for each fit; matcalc uses it too.
        warnings.filterwarnings("ignore", "PhonopyQHA is deprecated", DeprecationWarning)
        try:
            qha = PhonopyQHA(
                volumes=result["volumes"],
                electronic_energies=result["electronic_energies"],
                temperatures=thermal[0].temperatures,
                free_energy=np.transpose([t.free_energy for t in thermal]),
                cv=np.transpose([t.heat_capacity for t in thermal]),
                entropy=np.transpose([t.entropy for t in thermal]),
                pressure=settings.pressure,
                eos=eos,
            )
        except RuntimeError as error:
            raise Ended(Breakdown.UNUSABLE, _NO_FIT) from error
    atoms, units = len(relaxed.cell.species), units_in(relaxed.cell)
    curves = {
        "bulk_modulus": qha.bulk_modulus_temperature,
        "gibbs_energy": np.asarray(qha.gibbs_temperature) / atoms,
        "heat_capacity_p": np.asarray(qha.heat_capacity_P_polyfit) / units,
        "thermal_expansion": qha.thermal_expansion,
        "volume": np.asarray(qha.volume_temperature) / atoms,
    }

    def at(kelvin: float) -> dict[str, float]:
        found = {}
        for name, curve in curves.items():
            table = np.asarray(curve, dtype=float)
            found[name] = float(np.interp(kelvin, result["temperatures"][: len(table)], table))
        return found

    return at


def _check(
    values: Mapping[str, float], kelvin: float, volumes: Sequence[float], atoms: int
) -> None:
    """Refuses a fit that goes beyond what was computed.

    Raises:
        Ended: If it does.
    """
    for name, value in values.items():
        if not math.isfinite(value) or (name in _POSITIVE and value <= 0):
            words = f"at {kelvin:g} K the quasi-harmonic fit gives {name} {value:g}"
            raise Ended(Breakdown.UNUSABLE, words)
    volume = values["volume"] * atoms
    if not min(volumes) < volume < max(volumes):
        words = f"at {kelvin:g} K its volume lies outside the quasi-harmonic scan"
        raise Ended(Breakdown.UNUSABLE, words, volume=volume)
