"""What an owner may set about the computed lab."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cloudseed.lab_adapters._settings import LabSettings

__all__ = ["MlipSettings"]

Kelvin = Annotated[float, Field(gt=0, le=3000)]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("it must be odd, so that the relaxed volume is among them")
    return value


class MlipSettings(LabSettings):
    """What an owner may set about the computed lab."""

    calculator: str = Field(
        default="chgnet", description="The potential: chgnet, or an installed calculator."
    )
    concurrency: int = Field(default=2, ge=1, le=256, description="Number of worker processes.")
    timeout: float = Field(default=900.0, gt=0, description="Seconds one experiment may take.")
    threads: int = Field(default=1, ge=1, le=256, description="Threads per worker.")
    device: Literal["cpu", "cuda", "mps"] = Field(
        default="cpu", description="Where the potential runs: cpu, cuda or mps."
    )
    elements: tuple[str, ...] | None = Field(
        default=None, description="Elements that it takes; by default those with a known energy."
    )
    entries: Path | None = Field(
        default=None,
        description="CSV of competing phases: formula, energy_per_atom (eV/atom, same potential).",
    )
    entries_sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 of that file; by default the one it has when the lab is opened.",
    )
    price: float | None = Field(default=None, ge=0, description="What an hour of a worker costs.")
    currency: str = Field(default="USD", description="The price's currency.")

    optimizer: Literal["BFGS", "FIRE", "LBFGS"] = Field(
        default="BFGS", description="The ASE optimiser: BFGS, FIRE or LBFGS."
    )
    fmax: float = Field(
        default=0.05, gt=0, le=0.5, description="Largest force left by a relaxation, eV/angstrom."
    )
    fine_fmax: float = Field(
        default=0.005,
        gt=0,
        le=0.05,
        description="Largest force left before strains and phonons are computed, eV/angstrom.",
    )
    max_steps: int = Field(default=200, ge=1, description="Steps a relaxation may take.")
    fix_symmetry: bool = Field(
        default=True, description="Whether the space group asked for is kept while relaxing."
    )
    eos_points: int = Field(
        default=7, ge=5, le=51, description="Volumes of the equation of state, 5 to 51."
    )
    eos_fmax: float = Field(
        default=0.1,
        gt=0,
        le=0.5,
        description="Largest force left at each volume of the equation of state, eV/angstrom.",
    )
    eos_strain: float = Field(
        default=0.03,
        gt=0,
        le=0.1,
        description="Largest linear strain of the equation of state: 0.03 is 9 % in volume.",
    )
    r2_min: float = Field(
        default=0.98, gt=0, lt=1, description="Worst fit of the equation of state to accept."
    )
    max_volume_ratio: float = Field(
        default=2.0,
        gt=1,
        description="A cell that grows or shrinks by more than this factor has broken up.",
    )
    max_sites: int = Field(default=64, ge=1, description="Largest cell it takes, in atoms.")
    elastic_strain: float = Field(
        default=0.01, gt=0, le=0.05, description="Largest strain of the elastic tensor."
    )

    temperatures: tuple[Kelvin, ...] = Field(
        default=(), description="Temperatures in K at which vibrational properties are offered."
    )
    pressure: float = Field(
        default=0.0, ge=-10, le=200, description="Pressure of quasi-harmonic properties, GPa."
    )
    supercell: float = Field(
        default=7.5, gt=0, le=40, description="Shortest edge of a phonon supercell, angstrom."
    )
    imaginary_tolerance: float = Field(
        default=0.1, ge=0, description="Imaginary frequencies up to this are noise, THz."
    )
    imaginary: Literal["fail", "suspect"] = Field(
        default="fail",
        description="What imaginary modes do to a heat capacity: fail, or suspect (a flag).",
    )
    qha_points: Annotated[int, AfterValidator(_odd)] = Field(
        default=7,
        ge=5,
        le=21,
        description="Volumes of the quasi-harmonic scan, an odd number of 5 to 21.",
    )
    qha_strain: float = Field(
        default=0.02,
        gt=0,
        le=0.05,
        description="Largest linear strain of the quasi-harmonic scan.",
    )
    conductivity: bool = Field(
        default=False, description="Whether thermal conductivity is offered, which is dear."
    )
    conductivity_mesh: int = Field(
        default=11, ge=5, le=41, description="Points along each axis of the mesh of phonons."
    )
    max_force_calls: int = Field(
        default=600, ge=1, description="Force calculations that a conductivity may take."
    )
