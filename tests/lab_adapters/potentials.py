"""Cheap potentials for the `mlip` lab, installed as another package's would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

if TYPE_CHECKING:
    from pathlib import Path

POINTS = ("emt", "lennard_jones", "pushing", "not_a_number", "broken")


def install(folder: Path) -> None:
    """Writes the metadata of a package that offers these potentials; `folder` goes on the path."""
    info = folder / "toy_potentials-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-potentials\nVersion: 1.2\n")
    lines = [f"{name} = {__name__}:{name}" for name in POINTS]
    (info / "entry_points.txt").write_text("[cloudseed.calculators]\n" + "\n".join(lines) + "\n")


def emt(device: str) -> Calculator:
    assert device == "cpu"
    return EMT()


def lennard_jones(device: str) -> Calculator:
    """Solid argon."""
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=8.5, smooth=True)


class _Toy(Calculator):
    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def answer(self, volume: float) -> tuple[float, float]:
        raise NotImplementedError

    def calculate(self, atoms: Any = None, *args: Any, **kwargs: Any) -> None:
        super().calculate(atoms, *args, **kwargs)
        volume = self.atoms.get_volume()
        energy, slope = self.answer(volume)
        stress = np.array([slope, slope, slope, 0.0, 0.0, 0.0])
        self.results = {
            "energy": energy,
            "forces": np.zeros((len(self.atoms), 3)),
            "stress": stress,
        }


class _Pushing(_Toy):
    """Energy -p V: the cell only ever grows."""

    def answer(self, volume: float) -> tuple[float, float]:
        return -0.2 * volume, -0.2


class _NotANumber(_Toy):
    def answer(self, volume: float) -> tuple[float, float]:
        return float("nan"), 0.0


def pushing(device: str) -> Calculator:
    return _Pushing()


def not_a_number(device: str) -> Calculator:
    return _NotANumber()


def broken(device: str) -> Calculator:
    raise RuntimeError("no weights")
