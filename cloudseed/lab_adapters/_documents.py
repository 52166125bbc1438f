"""Values from the documents of a Bluesky run, as its writer of JSON lines leaves them."""

from __future__ import annotations

import hashlib
import json
import math
import re
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudseed.errors import LabError
from cloudseed.lab_adapters.protocols import Measurement, RawData

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Run", "read_run"]

LARGEST = 200_000_000
"""Bytes of the largest file that is read."""

_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run recorded.

    Attributes:
        start: Its start document.
        stop: Its stop document; None while it goes on.
        events: The data of its primary stream, one mapping per event.
        raw: The file.
    """

    start: Mapping[str, Any]
    stop: Mapping[str, Any] | None
    events: tuple[Mapping[str, Any], ...]
    raw: RawData

    def measurement(self, name: str, field: str, unit: str) -> Measurement | None:
        """Returns the mean of a field over the events, with its standard error, or None."""
        found = [event.get(field) for event in self.events]
        values = [float(v) for v in found if isinstance(v, int | float) and math.isfinite(v)]
        if not values or len(values) < len(found):
            return None
        n = len(values)
        sigma = statistics.stdev(values) / math.sqrt(n) if n > 1 else None
        told = "standard error of the readings" if n > 1 else ""
        mean = statistics.fmean(values)
        return Measurement(name, mean, unit, sigma, "Bluesky", told, n, raw=self.raw)

    def times(self) -> dict[str, Any]:
        """Returns when it started and ended, UTC."""
        if self.stop is None:
            return {}
        return {
            name: datetime.fromtimestamp(float(document["time"]), UTC)
            for name, document in (("started", self.start), ("ended", self.stop))
        }


def read_run(folder: Path, uid: str) -> Run | None:
    """Returns a run, or None if its file is not there or not finished.

    Args:
        folder: Where `JSONLinesWriter` writes.
        uid: The run's.

    Raises:
        LabError: If the file cannot be read.
    """
    if not _UID.fullmatch(uid):
        raise LabError(f"{uid!r} is no uid of a run.", hint="Is this a Bluesky queue server?")
    for name in (f"{uid}.jsonl", f"{uid[:8]}.jsonl"):
        path = folder / name
        try:
            if not path.is_file():
                continue
            if path.stat().st_size > LARGEST:
                raise LabError(f"The documents {path} are too large.")
            raw = path.read_bytes()
            run = _run(uid, raw, RawData(path.as_uri(), hashlib.sha256(raw).hexdigest()))
        except OSError as error:
            raise LabError(
                f"The documents {path} cannot be read: {error.strerror or error}.",
                hint="Is the folder mounted, and may this user read it?",
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LabError(
                f"The documents {path} are no Bluesky documents in JSON lines.",
                hint="Subscribe `JSONLinesWriter`, one for each run.",
            ) from error
        if run is not None:
            return run
    return None


def _run(uid: str, raw: bytes, source: RawData) -> Run | None:
    start: Mapping[str, Any] | None = None
    stop: Mapping[str, Any] | None = None
    primary: set[str] = set()
    events: list[Mapping[str, Any]] = []
    lines = raw.decode().split("\n")[:-1]  # a line without its end is still being written
    for name, document in (_document(line) for line in lines):
        if name == "start" and document["uid"] == uid:
            start = document
        elif name == "descriptor" and document["run_start"] == uid:
            primary |= {document["uid"]} if document.get("name") == "primary" else set()
        elif name in {"event", "event_page"} and document["descriptor"] in primary:
            events += _events(name, document)
        elif name == "stop" and document["run_start"] == uid:
            stop = document
    if start is None or stop is None:
        return None
    return Run(start, stop, tuple(events), source)


def _document(line: str) -> tuple[str, dict[str, Any]]:
    data = json.loads(line)
    return str(data["name"]), dict(data["doc"])


def _events(name: str, document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    data = document["data"]
    if name == "event":
        yield data
        return
    for n in range(len(document["seq_num"])):
        yield {field: values[n] for field, values in data.items()}
