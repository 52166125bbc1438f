"""What every lab can have without more work: the operator's methods, made from the six."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from cloudseed.errors import CloudseedError, LabError
from cloudseed.lab_adapters.protocols import (
    Feature,
    Health,
    JobState,
    JobStatus,
    OperableLab,
    Outcome,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.lab_adapters._settings import LabSettings
    from cloudseed.lab_adapters.protocols import (
        EventPage,
        ExperimentRequest,
        LabAdapter,
        LabDescription,
        LabMessage,
        Validation,
    )

__all__ = ["BaseLab", "operable", "reasons_against"]


class BaseLab(ABC):
    """A lab that has the six methods and gets the others.

    Attributes:
        settings_type: What it reads its settings with; tells which of them name files.
    """

    settings_type: ClassVar[type[LabSettings] | None] = None

    @abstractmethod
    def describe(self) -> LabDescription:
        """Returns what the lab can do."""

    @abstractmethod
    def validate(self, request: ExperimentRequest) -> Validation:
        """Says whether the lab could do this, without side effects."""

    @abstractmethod
    def submit(self, request: ExperimentRequest) -> str:
        """Hands over a request and returns the lab's handle."""

    @abstractmethod
    def lookup(self, key: str) -> str | None:
        """Returns the handle under which the lab has a key, or None if it surely has not."""

    @abstractmethod
    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        """Returns what the lab has to say about these submissions, possibly again."""

    def close(self, *, stop_jobs: bool = False) -> None:
        """Lets go of the lab; there may be nothing to do."""
        del stop_jobs

    def events(self, cursor: str | None = None) -> EventPage:
        """Raises: this lab keeps no feed.

        Raises:
            LabError: Always.
        """
        del cursor
        raise LabError(
            f"The lab {self.describe().name!r} keeps no feed of events.", hint="Use `poll`."
        )

    def results(self, handle: str) -> tuple[Outcome, ...]:
        """Returns the outcomes of a submission so far."""
        unique = {m.message_id: m.raw for m in self.poll([handle])}
        return tuple(Outcome.from_json(raw) for raw in unique.values())

    def cancel(self, handle: str) -> JobState:
        """Raises: this lab cannot cancel.

        Raises:
            LabError: Always.
        """
        raise LabError(
            f"The lab {self.describe().name!r} cannot cancel.",
            hint="Stop the job at the instrument, and report what became of it.",
            handle=handle,
        )

    def safe_stop(self, reason: str) -> None:
        """Lets go of the lab and asks it to stop what runs."""
        del reason
        self.close(stop_jobs=True)

    def health(self) -> Health:
        """Says whether the lab describes itself."""
        try:
            self.describe()
        except CloudseedError as error:
            return Health(ready=False, reason=error.message)
        return Health(ready=True)

    def reconcile(self, keys: Sequence[str]) -> Sequence[JobStatus]:
        """Looks each key up and asks for its result."""
        found = []
        for key in keys:
            handle = self.lookup(key)
            if handle is None:
                found.append(JobStatus(key, None, JobState.UNKNOWN))
                continue
            ended = any(m.key == key for m in self.poll([handle]))
            found.append(JobStatus(key, handle, JobState.FINISHED if ended else JobState.RUNNING))
        return found


def reasons_against(can: LabDescription, request: ExperimentRequest) -> tuple[str, ...]:
    """Returns why a request lies outside what a lab declares, one clause each."""
    reasons = [f"it cannot measure {p}" for p in request.properties if p not in can.properties]
    species = request.cell.species
    if can.elements is not None:
        beyond = sorted(set(species) - can.elements)
        reasons += [f"it cannot handle {', '.join(beyond)}"] if beyond else []
    if can.largest_cell is not None and len(species) > can.largest_cell:
        reasons.append(f"{len(species)} atoms are more than the {can.largest_cell} it takes")
    if request.recipe is not None and Feature.RECIPES not in can.features:
        reasons.append("it follows no recipe that a request carries")
    return tuple(reasons)


class _Filled(BaseLab):
    """A lab of six methods as an operable one; what it has beyond them is used."""

    def __init__(self, lab: LabAdapter) -> None:
        self._lab = lab
        for name in ("events", "results", "cancel", "safe_stop", "health", "reconcile"):
            if callable(own := getattr(lab, name, None)):
                setattr(self, name, own)

    def describe(self) -> LabDescription:
        return self._lab.describe()

    def validate(self, request: ExperimentRequest) -> Validation:
        return self._lab.validate(request)

    def submit(self, request: ExperimentRequest) -> str:
        return self._lab.submit(request)

    def lookup(self, key: str) -> str | None:
        return self._lab.lookup(key)

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        return self._lab.poll(handles)

    def close(self, *, stop_jobs: bool = False) -> None:
        self._lab.close(stop_jobs=stop_jobs)


def operable(lab: LabAdapter) -> OperableLab:
    """Returns a lab with every method of `OperableLab`: itself, or with the defaults filled in."""
    return lab if isinstance(lab, OperableLab) else _Filled(lab)
