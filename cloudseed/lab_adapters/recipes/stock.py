"""What is left on a shelf, after what recipes weighed out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from cloudseed.errors import InputError, LabError
from cloudseed.lab_adapters.recipes.shelf import Shelf, read_shelf

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudseed.lab_adapters._store import Job, JobStore

__all__ = ["Stock", "less", "weighed"]


def weighed(recipe: Mapping[str, Any] | None) -> Counter[str]:
    """Returns the grams of each precursor in a recipe; nothing of what has another form."""
    found: Counter[str] = Counter()
    told = (recipe or {}).get("precursors")
    for each in told if isinstance(told, list | tuple) else ():
        grams = each.get("grams") if isinstance(each, dict) else None
        if isinstance(grams, int | float) and grams > 0:
            found[str(each.get("formula"))] += grams  # type: ignore[assignment]
    return found


def less(shelf: Shelf, used: Mapping[str, float]) -> Shelf:
    """Returns a shelf from which some grams were taken; what is not counted stays enough."""
    left = tuple(
        s
        if s.grams is None
        else s.model_copy(update={"grams": max(s.grams - used.get(s.formula, 0.0), 0.0)})
        for s in shelf.precursors
    )
    return shelf.model_copy(update={"precursors": left})


class Stock:
    """A shelf in a file, of which jobs take.

    The file says what there was before the first job: who refills a bottle adds to its grams.

    Args:
        path: The file, which is read again when it has changed.

    Raises:
        InputError: If it holds no shelf.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shelf = read_shelf(path)
        self._stamp = _stamp(path)
        self._counted: set[str] | None = None
        self._used: Counter[str] = Counter()

    def left(self, store: JobStore) -> Shelf:
        """Returns what is left after all jobs of a store, whatever became of them.

        Raises:
            LabError: If the file or a job cannot be read.
        """
        if (stamp := _stamp(self._path)) != self._stamp:
            try:
                self._shelf, self._stamp = read_shelf(self._path), stamp
            except InputError as error:
                raise LabError(error.message, hint=error.hint) from error
        if all(s.grams is None for s in self._shelf.precursors):
            return self._shelf
        if self._counted is None:
            jobs = store.jobs()
            self._counted = set()
            for job in jobs:
                self.take(job)
        return less(self._shelf, self._used)

    def take(self, job: Job) -> None:
        """Counts what a job's recipe weighs out, once."""
        # Before the first look nothing is counted: that reads all jobs.
        if self._counted is not None and job.handle not in self._counted:
            self._used += weighed(job.request.get("recipe"))
            self._counted.add(job.handle)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size
