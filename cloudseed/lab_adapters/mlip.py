"""A computed lab: a potential relaxes each material and measures it.

By default that is CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023),
doi:10.1038/s42256-023-00716-3), whose weights come with the `chgnet` wheel: nothing is downloaded.
Any ASE calculator can take its place (`cloudseed.lab_adapters.potentials`). The workflows are
matcalc's, in processes of their own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudseed.errors import InputError, LabError
from cloudseed.lab_adapters._settings import read_settings
from cloudseed.lab_adapters._stored import STORED_FEATURES, StoredLab
from cloudseed.lab_adapters.potentials.calculators import CHGNET, calculator_point
from cloudseed.lab_adapters.potentials.conductivity import check_installed
from cloudseed.lab_adapters.potentials.offers import durations, total, units
from cloudseed.lab_adapters.potentials.references import (
    check_references,
    chgnet_references,
    digest,
    element_energies,
    known_entries,
)
from cloudseed.lab_adapters.potentials.settings import MlipSettings
from cloudseed.lab_adapters.protocols import (
    DeliveryClass,
    Estimate,
    LabDescription,
    Validation,
)
from cloudseed.lab_adapters.workers import JobPool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.lab_adapters.protocols import ExperimentRequest, LabMessage

__all__ = ["MlipLab", "MlipSettings", "chgnet_references"]

TASK = "cloudseed.lab_adapters.potentials.task:measure"


class MlipLab(StoredLab):
    """Measures energies, moduli and what vibrations do, with CHGNet or another potential.

    Each experiment relaxes atoms and cell from the structure asked for. The formation energy is
    taken against elements relaxed by the same potential, the energy above the hull against entries
    that the owner gives; the bulk modulus comes from a Birch-Murnaghan equation of state through
    cells whose atoms are relaxed and whose shape is kept, the shear modulus from an elastic tensor.
    With `temperatures`, harmonic and quasi-harmonic properties are offered at each of them.
    A material whose structure does not survive this is reported infeasible, and
    `details["breakdown"]` says how it ended (`Breakdown`).

    The same request gives the same values, to the last bit on one machine.

    Args:
        settings: What the owner set.
        workdir: Where jobs and results are kept.

    Raises:
        UsageError: If there is no such calculator, or the entries cannot be read or lack an
            element (`SpecError`).
        MissingDependencyError: If a library is missing that the settings need.
    """

    settings_type = MlipSettings

    def __init__(self, settings: MlipSettings, workdir: Path) -> None:
        calculator_point(settings.calculator)
        entries = known_entries(settings)
        if entries is not None:
            settings = settings.model_copy(update={"entries_sha256": entries.sha256})
        check_references(settings)
        self.settings = settings
        if settings.conductivity:
            check_installed()
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
        """Returns what the lab can do; its `duration` is that of all it can do."""
        found = LabDescription(
            name="mlip",
            properties=units(self.settings),
            concurrency=self.settings.concurrency,
            delivery=DeliveryClass.A,
            simulated=True,
            elements=self._elements(),
            largest_cell=self.settings.max_sites,
            duration=total(units(self.settings), self.settings.timeout),
            features=STORED_FEATURES,
            durations=durations(self.settings),
        )
        if self.settings.price is None or found.duration is None:
            return found
        return replace(
            found,
            cost=self._priced(found.duration),
            costs={name: self._priced(each) for name, each in found.durations.items()},
        )

    def _elements(self) -> frozenset[str] | None:
        """Returns the elements that it takes; None for those of the calculator."""
        if self.settings.elements is not None:
            return frozenset(self.settings.elements)
        return frozenset(element_energies(self.settings)) or None

    def _priced(self, duration: Estimate) -> Estimate:
        """Returns what a worker's time costs."""
        rate = (self.settings.price or 0.0) / 3600
        return Estimate(duration.p50 * rate, duration.p95 * rate, self.settings.currency)

    def validate(self, request: ExperimentRequest) -> Validation:
        """Refuses unknown properties, elements without a reference energy, and large cells."""
        found = super().validate(request)
        if self.settings.calculator != CHGNET:
            return found
        return replace(found, reasons=tuple(map(_of_chgnet, found.reasons)))

    def submit(self, request: ExperimentRequest) -> str:
        """Takes a request; the same key always gives the same handle.

        Raises:
            LabError: If the key stands for another request, the lab is stopped, its entries have
                changed, or the folder cannot be written.
        """
        self._check_running()
        self._check_entries()
        return self._pool.submit(request.key, request.to_json())

    def _check_entries(self) -> None:
        """Keeps values of one campaign from being taken against two hulls."""
        if self.settings.entries is None:
            return
        try:
            now = digest(Path(self.settings.entries))
        except InputError as error:
            raise LabError(error.message, hint="Put the file of entries back.") from error
        if now != self.settings.entries_sha256:
            raise LabError(
                f"{self.settings.entries} has changed since the lab was opened.",
                hint="Put the file back, or open the lab anew.",
            )

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


def _of_chgnet(reason: str) -> str:
    """Says why CHGNet does not handle an element."""
    return reason.replace("it cannot handle", "CHGNet has no reference energy for")
