"""A simulated lab: CHGNet relaxes each material and measures it.

CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3) is run
through the workflows of matcalc, in processes of its own. Its weights come with the `chgnet` wheel:
nothing is downloaded.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from cloudseed.lab_adapters._settings import LabSettings, read_settings
from cloudseed.lab_adapters._stored import STORED_FEATURES, StoredLab
from cloudseed.lab_adapters.protocols import (
    DeliveryClass,
    Estimate,
    FailureKind,
    LabDescription,
    Validation,
)
from cloudseed.lab_adapters.workers import JobPool
from cloudseed.units import PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cloudseed.lab_adapters.protocols import ExperimentRequest, LabMessage

__all__ = ["MlipLab", "MlipSettings", "chgnet_references"]

MEASURED = ("bulk_modulus", "energy", "formation_energy", "volume")
TYPICAL = 10.0
"""Seconds an experiment usually takes on one core."""

TASK = "cloudseed.lab_adapters._chgnet:measure"


class MlipSettings(LabSettings):
    """What an owner may set about the simulated lab."""

    concurrency: int = Field(default=2, ge=1, le=256, description="Number of worker processes.")
    timeout: float = Field(default=900.0, gt=0, description="Seconds one experiment may take.")
    threads: int = Field(default=1, ge=1, le=256, description="Threads per worker.")
    device: Literal["cpu", "cuda", "mps"] = Field(
        default="cpu", description="Where CHGNet runs: cpu, cuda or mps."
    )
    optimizer: Literal["BFGS", "FIRE", "LBFGS"] = Field(
        default="BFGS", description="The ASE optimiser: BFGS, FIRE or LBFGS."
    )
    fmax: float = Field(
        default=0.05, gt=0, le=0.5, description="Largest force left by a relaxation, eV/angstrom."
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


class MlipLab(StoredLab):
    """Measures energies, volumes and bulk moduli with CHGNet.

    Each experiment relaxes atoms and cell from the structure asked for. The formation energy is
    taken against elements relaxed by the same potential; the bulk modulus comes from a
    Birch-Murnaghan equation of state through cells whose atoms are relaxed and whose shape is kept.
    A material whose structure does not survive this is reported infeasible.

    The same request gives the same values, to the last bit on one machine.

    Args:
        settings: What the owner set.
        workdir: Where jobs and results are kept.
    """

    settings_type = MlipSettings

    def __init__(self, settings: MlipSettings, workdir: Path) -> None:
        self.settings = settings
        self._pool = JobPool(
            workdir,
            TASK,
            options=settings.model_dump(mode="json"),
            concurrency=settings.concurrency,
            timeout=settings.timeout,
            threads=settings.threads,
        )
        super().__init__(self._pool.store)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> MlipLab:
        """Opens the lab from plain values.

        Raises:
            SpecError: If a setting is unknown or wrong.
        """
        return cls(read_settings(MlipSettings, config, "mlip"), workdir)

    def describe(self) -> LabDescription:
        """Returns what the lab can do."""
        return LabDescription(
            name="mlip",
            properties={name: PROPERTIES[name].unit for name in MEASURED},
            concurrency=self.settings.concurrency,
            delivery=DeliveryClass.A,
            simulated=True,
            elements=frozenset(chgnet_references()),
            largest_cell=self.settings.max_sites,
            duration=Estimate(TYPICAL, self.settings.timeout, "s"),
            features=STORED_FEATURES,
        )

    def validate(self, request: ExperimentRequest) -> Validation:
        """Refuses unknown properties, elements without a reference energy, and large cells."""
        reasons = [
            f"it cannot measure {name}" for name in request.properties if name not in MEASURED
        ]
        missing = sorted(set(request.cell.species) - chgnet_references().keys())
        if missing:
            reasons.append(f"CHGNet has no reference energy for {', '.join(missing)}")
        sites = len(request.cell.species)
        if sites > self.settings.max_sites:
            reasons.append(f"{sites} atoms are more than the {self.settings.max_sites} it takes")
        failure = FailureKind.REJECTED_CAPABILITY if reasons else None
        return Validation(not reasons, tuple(reasons), failure=failure)

    def submit(self, request: ExperimentRequest) -> str:
        """Takes a request; the same key always gives the same handle.

        Raises:
            LabError: If the key stands for another request, the lab is stopped, or the folder
                cannot be written.
        """
        self._check_running()
        return self._pool.submit(request.key, request.to_json())

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        """Returns the results that are there.

        Raises:
            LabError: If the workers do not start or the folder cannot be read.
        """
        return super().poll(handles) if self.stopped() is not None else self._pool.poll(handles)

    def close(self, *, stop_jobs: bool = False) -> None:
        """Ends the workers; what has no result yet starts over when the lab is opened again."""
        self._pool.close(stop_jobs=stop_jobs)

    def _drop(self, handle: str) -> None:
        self._pool.drop(handle)

    def _halt(self) -> None:
        self._pool.close(stop_jobs=True)


@lru_cache(maxsize=1)
def chgnet_references() -> Mapping[str, float]:
    """Returns element -> energy in eV/atom of its ground state, relaxed by CHGNet.

    The table was measured by `scripts/make_chgnet_references.py`. An element that is not in it
    could not be relaxed.
    """
    path = files("cloudseed.lab_adapters") / "data" / "chgnet_references.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    return MappingProxyType({name: float(e["energy"]) for name, e in table["elements"].items()})
