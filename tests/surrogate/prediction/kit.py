"""Made-up properties of real kinds of strings, and heads that were trained on them."""

from __future__ import annotations

import itertools
import shutil
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate import CloudEncoder, shipped_encoders
from cloudseed.surrogate.prediction import PropertyTable
from cloudseed.surrogate.scope import ELEMENTS

if TYPE_CHECKING:
    from pathlib import Path

CUBIC = "1 4 b O O O c O O O d O O O e O O O 0"
A = ("Na", "K", "Rb", "Cs", "Ca", "Sr", "Ba", "La", "Y", "Ag", "Tl", "Pb")
B = ("Ti", "Zr", "Nb", "Ta", "Mn", "Fe", "Co", "Ni", "Zn", "Mg", "Al", "Ga")
X = ("O", "F", "Cl", "Br")


@cache
def encoder() -> CloudEncoder:
    return CloudEncoder.load()


@cache
def perovskites() -> tuple[str, ...]:
    """Canonical strings of 576 cubic perovskites."""
    return tuple(
        f"{CUBIC} | 1a {b} 1b {a} 3c {x} | {b} 0.2 {a} 0.2 {x} 0.6"
        for a, b, x in itertools.product(A, B, X)
    )


def number(string: str) -> np.ndarray:
    """Atomic numbers of A, B and X over 50."""
    tokens = string.split(" | ")[1].split(" ")
    return np.array([ELEMENTS.index(e) + 1 for e in (tokens[3], tokens[1], tokens[5])]) / 50


def made_up(name: str) -> PropertyTable:
    """A table of a smooth function of the atomic numbers, in the property's own range."""
    strings = perovskites()
    a, b, x = np.array([number(s) for s in strings]).T
    smooth = 0.6 * a + 0.9 * b + 1.3 * x - 1.5
    values = {
        "formation_energy": smooth - 1.0,
        "band_gap": np.maximum(1.5 - 2 * smooth, 0.0),
        "bulk_modulus": 120 * np.exp(-0.5 * smooth),
        "shear_modulus": 60 * np.exp(-0.5 * smooth),
        "volume": 12 * np.exp(0.4 * smooth),
        "heat_capacity": 5 * (20 + 3 * np.tanh(smooth)),
    }[name]
    atoms = np.full(len(strings), 5.0) if name == "heat_capacity" else None
    return PropertyTable(strings, values, atoms)


def copy_of_shipped(folder: Path) -> Path:
    """Copies the shipped encoder, without heads that it may have."""
    skip = shutil.ignore_patterns("heads.*")
    return shutil.copytree(shipped_encoders()["cloud-small"], folder / "encoder", ignore=skip)
