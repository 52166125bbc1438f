"""The task that `MlipLab`'s workers run; only they import this module's libraries."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from cloudseed.crystal import Cell
from cloudseed.lab_adapters.mlip import MlipSettings, chgnet_references
from cloudseed.lab_adapters.protocols import (
    ExperimentRequest,
    FailureKind,
    Instrument,
    Measurement,
    Outcome,
    OutcomeKind,
)
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymatgen.core import Structure

__all__ = ["measure", "warm_up"]

GPA_PER_EV_ANGSTROM3 = 160.21766208
"""1 eV/angstrom^3 in GPa (CODATA)."""

ENERGY_SIGMA = 0.03
"""CHGNet's mean absolute error against DFT, eV/atom (Deng et al. 2023)."""

MODULUS_SIGMA = 0.06
"""Relative. The choice of strains and the choice between equation of state and elastic tensor each
move CHGNet's bulk modulus by up to 7 %, as measured on SrTiO3, CaTiO3 and GdFeO3."""

VOLUME_SIGMA = 0.005
"""Relative: what the pressure that `fmax` leaves does at 150 GPa."""

SIGMA_METHODS = {
    "energy": "mean absolute error against DFT",
    "formation_energy": "mean absolute error against DFT",
    "volume": "the pressure that the relaxation left",
    "bulk_modulus": "spread of methods and strains",
}
"""Property -> where its uncertainty comes from."""

LONGEST_BOND = 1.6
"""Times the sum of two covalent radii: beyond it atoms do not touch."""

SHORTEST_BOND = 0.55
"""Times the sum of two covalent radii: below it atoms sit in one another."""

METHOD = "CHGNet relaxation (matcalc RelaxCalc)"


class Infeasible(Exception):  # noqa: N818
    """The material does not hold together in the structure asked for; the text says why."""


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


def warm_up(options: Mapping[str, Any]) -> None:
    """Loads CHGNet and what goes with it, once per worker."""
    import matcalc  # noqa: F401
    import torch

    torch.set_num_threads(int(options["threads"]))
    warnings.simplefilter("ignore")
    _calculator(str(options["device"]))


@lru_cache(maxsize=1)
def _calculator(device: str) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        from chgnet.model import CHGNetCalculator

        return CHGNetCalculator(use_device=device, on_isolated_atoms="error")


def measure(data: Mapping[str, Any], options: Mapping[str, Any]) -> Outcome:
    """Relaxes a material and measures what was asked for."""
    request = ExperimentRequest.from_json(data)
    settings = MlipSettings.model_validate(dict(options))
    details: dict[str, Any] = {"settings": dict(options), "versions": _versions()}
    cell = None
    try:
        relaxed = _relax(request.cell, settings)
        cell = relaxed.cell
        details["relaxation"] = dict(relaxed.left)
        values = _energies(relaxed)
        if "bulk_modulus" in request.properties:
            values["bulk_modulus"] = _bulk_modulus(relaxed, settings, details)
    except Infeasible as error:
        return Outcome.failed(
            FailureKind.SAMPLE_FAILED, str(error), cell=cell, details=details, simulated=True
        )
    wanted = tuple(values[name] for name in request.properties)
    instrument = Instrument("CHGNet", firmware=version("chgnet"))
    return Outcome(
        OutcomeKind.MEASURED,
        wanted,
        cell=cell,
        details=details,
        instrument=instrument,
        simulated=True,
    )


def _relax(cell: Cell, settings: MlipSettings) -> Relaxed:
    from matcalc import RelaxCalc

    relax = RelaxCalc(
        _calculator(settings.device),
        optimizer=settings.optimizer,
        fmax=settings.fmax,
        max_steps=settings.max_steps,
        fix_symmetry=settings.fix_symmetry,
    )
    with _physics():
        result = relax.calc(cell.to_structure())
    structure = result["final_structure"]
    _check_shape(cell, structure, settings)
    stress = float(abs(result["stress"]).max())
    force = float(result["max_force"])
    # matcalc looks at forces alone, which symmetry may hold at zero while the cell still moves.
    cell_force = stress * structure.volume / len(structure)
    if not (result["is_converged"] and cell_force <= 2 * settings.fmax):
        raise Infeasible(
            f"it did not come to rest within {settings.max_steps} steps: {force:.2f} eV/angstrom"
            f" and {stress * GPA_PER_EV_ANGSTROM3:.1f} GPa are left"
        )
    left = {"max_force": force, "max_stress": stress * GPA_PER_EV_ANGSTROM3}
    return Relaxed(structure, Cell.from_structure(structure), float(result["energy"]), left)


@contextlib.contextmanager
def _physics() -> Any:
    """Tells a structure that falls apart under way from a program that fails."""
    try:
        yield
    except ValueError as error:
        if "isolated atom" in str(error):
            raise Infeasible("it fell apart while relaxing") from error
        raise


def _check_shape(before: Cell, after: Structure, settings: MlipSettings) -> None:
    """Refuses a relaxation that ended in another thing than a crystal like the one asked for."""
    from ase.data import atomic_numbers, covalent_radii

    ratio = after.volume / before.volume
    if not (math.isfinite(ratio) and 1 / settings.max_volume_ratio < ratio):
        raise Infeasible(f"its cell collapsed to {ratio:.2f} of its volume")
    if ratio > settings.max_volume_ratio:
        raise Infeasible(f"its cell exploded to {ratio:.1f} times its volume")
    radii = [covalent_radii[atomic_numbers[site.specie.symbol]] for site in after]
    first, second, _, distances = after.get_neighbor_list(LONGEST_BOND * 2 * max(radii))
    touching = set()
    for i, j, distance in zip(first, second, distances, strict=True):
        bond = distance / (radii[i] + radii[j])
        if bond < SHORTEST_BOND:
            raise Infeasible(f"two of its atoms came within {distance:.2f} angstrom")
        if bond < LONGEST_BOND:
            touching.add(int(i))
    loose = [site.specie.symbol for n, site in enumerate(after) if n not in touching]
    if loose:
        raise Infeasible(f"it fell apart: {loose[0]} touches no other atom")


def _energies(relaxed: Relaxed) -> dict[str, Measurement]:
    """Returns what the relaxation alone tells."""
    species = relaxed.cell.species
    references = chgnet_references()
    energy = relaxed.energy / len(species)
    elements = sum(references[e] * n for e, n in Counter(species).items()) / len(species)
    volume = relaxed.cell.volume / len(species)
    if not math.isfinite(energy):
        raise Infeasible("its energy is not a number")
    against = f"{METHOD}; elements by the same potential"
    return {
        "energy": _measurement("energy", energy, ENERGY_SIGMA, METHOD),
        "volume": _measurement("volume", volume, VOLUME_SIGMA * volume, METHOD),
        "formation_energy": _measurement(
            "formation_energy", energy - elements, ENERGY_SIGMA, against
        ),
    }


def _bulk_modulus(relaxed: Relaxed, settings: MlipSettings, details: dict[str, Any]) -> Measurement:
    """Fits a Birch-Murnaghan equation of state; the value is in GPa."""
    from matcalc import EOSCalc
    from pymatgen.analysis.eos import EOSError

    scan = EOSCalc(
        _calculator(settings.device),
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
        with _physics():
            result = scan.calc(relaxed.structure)
    except EOSError as error:
        raise Infeasible("no equation of state fits its energies") from error
    energies = list(result["eos"]["energies"])
    modulus, r2 = float(result["bulk_modulus_bm"]), float(result["r2_score_bm"])
    details["equation_of_state"] = {
        "volumes": [float(v) for v in result["eos"]["volumes"]],
        "energies": [float(e) for e in energies],
        "r2": r2 if math.isfinite(r2) else None,
    }
    lowest = energies.index(min(energies))
    if lowest in (0, len(energies) - 1):
        raise Infeasible("its energy has no minimum near its relaxed volume")
    if not (math.isfinite(modulus) and modulus > 0):
        raise Infeasible(f"its bulk modulus is not positive: {modulus:.1f} GPa")
    if not r2 >= settings.r2_min:
        raise Infeasible(f"no equation of state fits its energies: R2 is {r2:.3f}")
    method = (
        f"Birch-Murnaghan equation of state by CHGNet (matcalc EOSCalc), {settings.eos_points}"
        f" points within {settings.eos_strain:.0%} linear strain, atoms relaxed, shape kept"
    )
    return _measurement("bulk_modulus", modulus, MODULUS_SIGMA * modulus, method)


def _measurement(name: str, value: float, sigma: float, method: str) -> Measurement:
    unit = unit_of(name) or ""
    sigma_method = SIGMA_METHODS[name]
    return Measurement(name, float(value), unit, float(sigma), method, sigma_method)


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("chgnet", "matcalc", "ase", "torch", "pymatgen")}
