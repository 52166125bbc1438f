"""Quasi-harmonic properties: what a lattice does at a temperature and a pressure.

Phonons at several volumes, by matcalc's `QHACalc` over phonopy (Togo et al., Phys. Rev. B 81,
174301 (2010), doi:10.1103/PhysRevB.81.174301).
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from cloudseed.lab_adapters.potentials.calculators import load_calculator, maker
from cloudseed.lab_adapters.potentials.moduli import MODULUS_SIGMA
from cloudseed.lab_adapters.potentials.offers import at_kelvin
from cloudseed.lab_adapters.potentials.outcomes import Breakdown, Ended, measurement
from cloudseed.lab_adapters.potentials.relaxing import ENERGY_SIGMA, VOLUME_SIGMA, guarded
from cloudseed.lab_adapters.potentials.vibrations import (
    SOFTENING,
    check_modes,
    lowest_frequency,
    units_in,
)
from cloudseed.units import convert

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

_FEWEST = 2
"""Fits that must give a number before their spread tells anything."""

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
        fitted = [fit(kelvin) for fit in fits]
        _check(fitted[0], kelvin, volumes, len(relaxed.cell.species))
        errors = _errors(fitted[0], kelvin, thermal[len(thermal) // 2], relaxed)
        for name in names:
            values = [each[name] for each in fitted if math.isfinite(each[name])]
            spread = max(values) - min(values)
            full = at_kelvin(name, kelvin)
            own, cause = errors[name]
            kinds = f"spread of {len(values)} equations of state, and {cause}"
            value = fitted[0][name]
            suspect = len(values) < _FEWEST or spread > _SUSPECT * abs(value)
            sigma = math.hypot(spread, own)
            found[full] = measurement(full, value, sigma, method, kinds, suspect=suspect)
    return found


def _errors(
    values: Mapping[str, float], kelvin: float, thermal: Any, relaxed: Relaxed
) -> dict[str, tuple[float, str]]:
    """Returns property -> error that all fits share, in its unit, and where it comes from.

    Args:
        values: What the first fit gives.
        kelvin: Temperature in K.
        thermal: Thermal properties at the relaxed volume.
        relaxed: The structure.
    """
    import numpy as np

    def at(curve: Any, temperature: float) -> float:
        return float(np.interp(temperature, thermal.temperatures, curve))

    # A mode of frequency f w has at T the heat capacity of one of w at T/f, and f times its energy.
    colder = kelvin / SOFTENING
    capacity = at(thermal.heat_capacity, kelvin)
    stiffer = abs(capacity - at(thermal.heat_capacity, colder))
    free = SOFTENING * at(thermal.free_energy, colder) - at(thermal.free_energy, kelvin)
    free = convert(free, "kJ/mol", "eV") / len(relaxed.cell.species)
    # Expansion goes as the heat capacity over the bulk modulus (Grueneisen's relation).
    relative = math.hypot(MODULUS_SIGMA, stiffer / capacity)
    modes = f"frequencies {SOFTENING - 1:.0%} higher"
    modulus = "methods and strains of a modulus"
    return {
        "bulk_modulus": (MODULUS_SIGMA * values["bulk_modulus"], modulus),
        "gibbs_energy": (math.hypot(ENERGY_SIGMA, free), f"error against DFT, {modes}"),
        "heat_capacity_p": (stiffer / units_in(relaxed.cell), modes),
        "thermal_expansion": (relative * abs(values["thermal_expansion"]), f"{modulus}, {modes}"),
        "volume": (VOLUME_SIGMA * values["volume"], "the pressure that the relaxation left"),
    }


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
    try:
        with guarded():
            found: dict[str, Any] = work.calc(relaxed.structure)
    except RuntimeError as error:
        # matcalc fits once itself; torch's errors are of the same kind, and are not meant.
        if "EOS" not in str(error):
            raise
        raise Ended(Breakdown.UNUSABLE, _NO_FIT) from error
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
