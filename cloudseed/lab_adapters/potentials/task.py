"""The task that the workers of `MlipLab` run; only they load this package's libraries."""

from __future__ import annotations

import time
import warnings
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from cloudseed.lab_adapters.potentials.calculators import load_calculator, maker
from cloudseed.lab_adapters.potentials.conductivity import conductivities
from cloudseed.lab_adapters.potentials.expansion import quasi_harmonic
from cloudseed.lab_adapters.potentials.moduli import bulk_modulus, shear_modulus
from cloudseed.lab_adapters.potentials.offers import (
    CONDUCTIVITY,
    HARMONIC,
    QUASI_HARMONIC,
)
from cloudseed.lab_adapters.potentials.outcomes import Ended, without_value
from cloudseed.lab_adapters.potentials.relaxing import energies, relax
from cloudseed.lab_adapters.potentials.settings import MlipSettings
from cloudseed.lab_adapters.potentials.vibrations import heat_capacities
from cloudseed.lab_adapters.protocols import ExperimentRequest, Instrument, Outcome, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.crystal import Cell
    from cloudseed.lab_adapters.potentials.relaxing import Relaxed
    from cloudseed.lab_adapters.protocols import Measurement

__all__ = ["measure", "warm_up"]


def warm_up(options: Mapping[str, Any]) -> None:
    """Loads the potential and what goes with it, once per worker."""
    import matcalc  # noqa: F401
    import torch

    torch.set_num_threads(int(options["threads"]))
    warnings.simplefilter("ignore")
    load_calculator(str(options["calculator"]), str(options["device"]))


def measure(data: Mapping[str, Any], options: Mapping[str, Any]) -> Outcome:
    """Relaxes a material and measures what was asked for."""
    began = time.monotonic()
    request = ExperimentRequest.from_json(data)
    settings = MlipSettings.model_validate(dict(options))
    name, firmware = maker(settings.calculator)
    details: dict[str, Any] = {"settings": dict(options), "versions": _versions()}
    work = _Work(request.properties, settings, details)
    instrument = Instrument(name, firmware=firmware)
    try:
        values = work.run(request.cell)
    except Ended as ended:
        cost = _cost(settings, began)
        return without_value(ended, work.cell, details, instrument=instrument, cost=cost)
    return Outcome(
        OutcomeKind.MEASURED,
        tuple(values[name] for name in request.properties),
        cell=work.cell,
        details=details,
        instrument=instrument,
        simulated=True,
        cost=_cost(settings, began),
    )


class _Work:
    """One experiment.

    Args:
        properties: What is asked for.
        settings: What the owner set.
        details: Gets what is worth keeping.
    """

    def __init__(
        self, properties: Sequence[str], settings: MlipSettings, details: dict[str, Any]
    ) -> None:
        self.cell: Cell | None = None
        self._settings = settings
        self._details = details
        self._plain = [p for p in properties if "@" not in p]
        at: dict[str, list[float]] = {}
        for base, _, kelvin in (p.partition("@") for p in properties if "@" in p):
            at.setdefault(base, []).append(float(kelvin.removesuffix("K")))
        self._at = at

    def run(self, cell: Cell) -> dict[str, Measurement]:
        """Returns property -> value.

        Raises:
            Ended: If there is none.
        """
        relaxed = relax(cell, self._settings)
        self.cell = relaxed.cell
        self._details["relaxation"] = dict(relaxed.left)
        found = energies(relaxed, self._settings, self._details)
        if "bulk_modulus" in self._plain:
            found["bulk_modulus"] = bulk_modulus(relaxed, self._settings, self._details)
        if "shear_modulus" in self._plain or self._at:
            fine = relax(relaxed.cell, self._settings, fmax=self._settings.fine_fmax)
            self._details["fine_relaxation"] = dict(fine.left)
            found |= self._from_fine(fine)
        return found

    def _from_fine(self, fine: Relaxed) -> dict[str, Measurement]:
        """Returns what needs a structure without forces, the cheap first: it may end the work."""
        found: dict[str, Measurement] = {}
        if "shear_modulus" in self._plain:
            found["shear_modulus"] = shear_modulus(fine, self._settings, self._details)
        if HARMONIC in self._at:
            found |= heat_capacities(fine, self._at[HARMONIC], self._settings, self._details)
        wanted: dict[float, list[str]] = {}
        for name in QUASI_HARMONIC:
            for kelvin in self._at.get(name, ()):
                wanted.setdefault(kelvin, []).append(name)
        if wanted:
            found |= quasi_harmonic(fine, wanted, self._settings, self._details)
        if CONDUCTIVITY in self._at:
            found |= conductivities(fine, self._at[CONDUCTIVITY], self._settings, self._details)
        return found


def _cost(settings: MlipSettings, began: float) -> float | None:
    """Returns the worker's time in money, where it has a price."""
    if settings.price is None:
        return None
    return (time.monotonic() - began) / 3600 * settings.price


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {}
    for name in ("chgnet", "matcalc", "ase", "torch", "pymatgen", "phonopy", "phono3py"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
