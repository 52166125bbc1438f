"""Tasks for the job pool: quick ones, and every way to go wrong."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudseed.lab_adapters import Measurement, Outcome, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Mapping


def answer(request: Mapping[str, Any], options: Mapping[str, Any]) -> Outcome:
    """Measures 42 after `options["delay"]` seconds, or does what the label says."""
    print("chatter of a library")  # noqa: T201
    _misbehave(request.get("label", ""))
    if request.get("label") == "nothing":
        return None  # type: ignore[return-value]
    time.sleep(float(options.get("delay", 0.0)))
    wanted = request.get("properties", ["energy"])
    units = {"energy": "eV/atom", "bulk_modulus": "GPa"}
    values = tuple(Measurement(name, 42.0, units[name], 0.1, "test") for name in wanted)
    return Outcome(OutcomeKind.MEASURED, values, details={"pid": os.getpid()})


def _misbehave(label: str) -> None:
    if label == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif label == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif label == "exit":
        os._exit(3)
    elif label == "hang":
        time.sleep(3600)
    elif label == "bug":
        raise ValueError("a bug\non two lines")
    elif label == "memory":
        raise MemoryError


def once(request: Mapping[str, Any], options: Mapping[str, Any]) -> Outcome:
    """Appends a line to a file, so that a test can count how often it ran."""
    with Path(options["count"]).open("a") as stream:
        stream.write(f"{request['label']}\n")
    return answer(request, options)
