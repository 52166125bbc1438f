"""Potentials by name: CHGNet, and the entry points of the group `cloudseed.calculators`.

An entry point names a function that takes the device ("cpu", "cuda" or "mps") and returns an ASE
calculator with energies in eV, forces in eV/angstrom and stresses in eV/angstrom^3.
"""

from __future__ import annotations

import contextlib
import io
from functools import lru_cache
from importlib.metadata import EntryPoint, version
from typing import Any

from cloudseed.lab_adapters._points import broken, named, names_in

__all__ = ["CHGNET", "available_calculators", "calculator_point", "load_calculator", "maker"]

GROUP = "cloudseed.calculators"
_WHAT = "calculator"

CHGNET = "chgnet"
"""The potential that comes with cloudseed."""


def available_calculators() -> tuple[str, ...]:
    """Returns the names of the potentials that are installed, sorted."""
    return tuple(sorted({CHGNET, *names_in(GROUP)}))


def calculator_point(name: str) -> EntryPoint:
    """Returns the entry point behind a name, without loading it.

    Raises:
        UsageError: If there is none; the hint names the nearest.
    """
    if name == CHGNET:
        return EntryPoint(CHGNET, f"{__name__}:_chgnet", GROUP)
    return named(GROUP, name, what=_WHAT, known=available_calculators())


@lru_cache(maxsize=1)
def load_calculator(name: str, device: str) -> Any:
    """Returns the ASE calculator, once per process.

    Raises:
        LabError: If it cannot be loaded.
        UsageError: If there is none of this name.
    """
    point = calculator_point(name)
    try:
        return point.load()(device)
    except Exception as error:
        raise broken(point, error, what=_WHAT) from error


@lru_cache(maxsize=8)
def maker(name: str) -> tuple[str, str]:
    """Returns what people call a potential, and the version of its package."""
    if name == CHGNET:
        return "CHGNet", version("chgnet")
    dist = calculator_point(name).dist
    return name, "" if dist is None else f"{dist.name} {dist.version}"


def _chgnet(device: str) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        from chgnet.model import CHGNetCalculator

        return CHGNetCalculator(use_device=device, on_isolated_atoms="error")
