"""A folder that a lab and its campaign share: orders go out as files, results come in as files.

orders/JOB.*      what is to be done; appears whole, once, and the lab may move it away
results/*.csv     what the lab found; it writes elsewhere and renames the file into place
results/done/     result files that were taken
results/refused/  result files that were not, each with a text that says why
STOP              there while the campaign wants the lab at rest
"""

from __future__ import annotations

import json
import logging
import os
from abc import abstractmethod
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING

from pydantic import Field

from cloudseed.errors import CloudseedError, InputError, LabError
from cloudseed.lab_adapters._result_rows import LARGEST, outcome_of, read_rows
from cloudseed.lab_adapters._settings import LabSettings
from cloudseed.lab_adapters._store import Job, JobStore, handle_of, write_whole
from cloudseed.lab_adapters._stored import STORED_FEATURES, StoredLab
from cloudseed.lab_adapters.protocols import (
    DeliveryClass,
    Estimate,
    Feature,
    LabDescription,
)
from cloudseed.lab_adapters.recipes.stock import Stock
from cloudseed.lab_adapters.reporting import UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.lab_adapters.protocols import ExperimentRequest, LabMessage

__all__ = ["ExchangeLab", "ExchangeSettings"]

log = logging.getLogger(__name__)


class ExchangeSettings(LabSettings):
    """What an owner may set about a lab behind a folder."""

    name: str = Field(default="lab", min_length=1, description="What the lab is called.")
    properties: dict[str, str] = Field(
        min_length=1, description="What it measures: property -> unit."
    )
    path: Path | None = Field(
        default=None, description="The shared folder; by default one in the run folder."
    )
    elements: tuple[str, ...] | None = Field(
        default=None, description="Elements that it can handle; by default any."
    )
    concurrency: int = Field(default=4, ge=1, description="Open orders at the same time.")
    days: float | None = Field(
        default=None, gt=0, description="Days an experiment usually takes, if known."
    )
    simulated: bool = Field(default=False, description="Whether it only rehearses.")
    shelf: Path | None = Field(
        default=None,
        description="YAML with `precursors`, their grams before the first order, and `gases`.",
    )


class ExchangeLab(StoredLab):
    """A lab that finds its orders in a folder and puts its results there.

    Args:
        settings: What the owner set.
        workdir: Where submissions and results are kept.

    Raises:
        InputError: If there is a shelf that cannot be read.
    """

    def __init__(self, settings: ExchangeSettings, workdir: Path) -> None:
        super().__init__(JobStore(workdir))
        self.settings = settings
        self.folder = settings.path or workdir / "exchange"
        self._stock = None if settings.shelf is None else Stock(settings.shelf)
        self._stuck: set[Path] = set()

    def describe(self) -> LabDescription:
        """Returns what the owner told, and what is left on the shelf after all orders so far.

        Raises:
            LabError: If the shelf or the orders cannot be read any more.
        """
        left = None if self._stock is None else self._stock.left(self._store)
        days, elements = self.settings.days, self.settings.elements
        return LabDescription(
            name=self.settings.name,
            properties=dict(self.settings.properties),
            concurrency=self.settings.concurrency,
            delivery=DeliveryClass.A,
            simulated=self.settings.simulated,
            elements=None if elements is None else frozenset(elements),
            duration=None if days is None else Estimate(days, 2 * days, "day"),
            features=STORED_FEATURES | {Feature.RECIPES},
            shelf=None if left is None else left.told,
            gases=None if left is None else left.gases,
        )

    def submit(self, request: ExperimentRequest) -> str:
        """Puts an order into the folder; the same key again puts none.

        Raises:
            LabError: If the key stands for another request, the lab is stopped, or a folder cannot
                be written.
        """
        self._check_running()
        handle = handle_of(request.key)
        known = self._store.job(handle)
        if known is None:
            self._store.write(UNITS, json.dumps(self.settings.properties).encode())
            # Staged before the job counts, released after: a crash at any point leaves the order
            # out once, and never again after the lab has taken it away.
            self._stage(Job(handle, request.key, request.to_json()))
        job = self._store.add(request.key, request.to_json())
        if self._stock is not None:
            self._stock.take(job)
        self._release(job.handle)
        return job.handle

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        """Takes in what lies in the folder and returns the results of these orders.

        Raises:
            LabError: If a folder cannot be used.
        """
        self._take_in()
        return super().poll(handles)

    @abstractmethod
    def _documents(self, job: Job) -> Mapping[str, bytes]:
        """Returns suffix -> bytes of an order's files; the last one tells that it is complete."""

    def _stage(self, job: Job) -> None:
        try:
            (self.folder / "results").mkdir(parents=True, exist_ok=True)
            for suffix, raw in self._documents(job).items():
                write_whole(self._staged / f"{job.handle}{suffix}", raw)
        except OSError as error:
            raise self._unusable(error) from error

    def _release(self, handle: str) -> None:
        try:
            for suffix in self._suffixes:
                staged = self._staged / f"{handle}{suffix}"
                if staged.exists():
                    (self.folder / "orders").mkdir(parents=True, exist_ok=True)
                    os.replace(staged, self.folder / "orders" / staged.name)  # noqa: PTH105
        except OSError as error:
            raise self._unusable(error) from error

    @property
    def _staged(self) -> Path:
        return self.folder / ".staged"

    @property
    @abstractmethod
    def _suffixes(self) -> tuple[str, ...]:
        """The suffixes of an order's files, in order."""

    def _take_in(self) -> None:
        results = self.folder / "results"
        try:
            results.mkdir(parents=True, exist_ok=True)
            if self.stopped() is None:
                (self.folder / "STOP").unlink(missing_ok=True)
            found = sorted(p for p in results.glob("*.csv") if not p.name.startswith("."))
        except OSError as error:
            raise self._unusable(error) from error
        for path in found:
            try:
                self._take(path)
            except OSError as error:
                if path not in self._stuck:
                    log.warning("%s cannot be moved: %s", path, error.strerror or error)
                self._stuck.add(path)

    def _take(self, path: Path) -> None:
        """Takes a result file in and moves it aside; a refused row refuses the whole file."""
        try:
            found: dict[str, bytes] = {}
            for row in read_rows(_bytes_of(path)):
                handle, raw = self._read_row(row)
                if found.setdefault(handle, raw) != raw:
                    raise InputError(f"It has two results of {handle}.", hint="Give one.")
        except CloudseedError as error:
            if isinstance(error, LabError):
                raise
            _move(path, "refused", f"{error.message}\n{error.hint}\n")
            return
        for handle, raw in found.items():
            self._store.finish(handle, raw)
            self._remove_order(handle)
        _move(path, "done")

    def _read_row(self, row: Mapping[str, str]) -> tuple[str, bytes]:
        handle = handle_of(row["job_id"])
        job = self._store.job(handle)
        if job is None:
            raise InputError(f"There is no job {row['job_id']!r}.", hint="Copy it from the order.")
        raw = outcome_of(row, job, self.settings.properties).to_json()
        if self._store.is_finished(handle) and self._store.result(handle) != raw:
            raise InputError(
                f"The job {handle} has another result already.", hint="The first one stands."
            )
        return handle, raw

    def _advance(self, handle: str) -> None:
        if self._store.is_finished(handle):
            self._remove_order(handle)

    def _drop(self, handle: str) -> None:
        self._remove_order(handle)

    def _halt(self) -> None:
        try:
            write_whole(self.folder / "STOP", (self.stopped() or "").encode() + b"\n")
        except OSError as error:
            raise self._unusable(error) from error

    def _remove_order(self, handle: str) -> None:
        for suffix in self._suffixes:
            (self.folder / "orders" / f"{handle}{suffix}").unlink(missing_ok=True)

    def _unusable(self, error: OSError) -> LabError:
        return LabError(
            f"The shared folder {self.folder} cannot be used: {error.strerror or error}.",
            hint="Is it mounted, and may this user write there?",
        )


def _bytes_of(path: Path) -> bytes:
    """Reads a result file.

    Raises:
        InputError: If it is anything but a plain, readable file of reasonable size.
    """
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST:
            raise InputError("It is no plain file, or too large.", hint="Put a plain file there.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"It cannot be read: {error.strerror or error}.", hint="May this user read it?"
        ) from error


def _move(path: Path, where: str, why: str = "") -> None:
    aside = path.parent / where
    aside.mkdir(exist_ok=True)
    target, number = aside / path.name, 1
    while target.exists():
        target, number = aside / f"{path.stem}.{number}{path.suffix}", number + 1
    if why:
        write_whole(target.with_suffix(".txt"), why.encode())
    os.replace(path, target)  # noqa: PTH105
