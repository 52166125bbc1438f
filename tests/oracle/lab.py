"""A lab in a process of its own, with a durable ledger of its own: the oracle.

It serves one connection after another in the order in which they came, so that what it says of a
key takes in all that was sent before. Class A runs a key once; B and C run what they are sent, and
only B can be asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import socketserver
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudseed.errors import LabError
from cloudseed.lab_adapters import (
    DeliveryClass,
    ExperimentRequest,
    LabDescription,
    LabMessage,
    Measurement,
    Outcome,
    OutcomeKind,
    Validation,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Run:
    """What the lab did: a run under a key."""

    handle: str
    key: str
    began: float


def chance(text: str) -> float:
    """Returns a number from 0 to 1 that belongs to a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def value_of(key: str) -> float:
    """What is measured under a key."""
    return round(10.0 * chance(f"value {key}"), 6)


def fails(key: str) -> bool:
    """Whether the instrument fails under this key; a third attempt never fails."""
    return chance(f"fails {key}") < 0.15 and not key.endswith(("-3", "-4", "-5"))


def refused(key: str) -> bool:
    """Whether the lab will not do an experiment, whichever attempt."""
    return chance(f"refuses {key.rpartition('-')[0]}") < 0.1


def outcome_of(key: str) -> Outcome:
    if fails(key):
        return Outcome(OutcomeKind.FAILED_RETRYABLE, reason="no vacuum")
    return Outcome(OutcomeKind.MEASURED, (Measurement("band_gap", value_of(key), "eV", 0.1),))


class OracleLab:
    """The lab as an engine sees it."""

    def __init__(self, address: str, delivery: DeliveryClass) -> None:
        self._address = address
        self._delivery = delivery

    def describe(self) -> LabDescription:
        return LabDescription("oracle", {"band_gap": "eV"}, 4, self._delivery, simulated=True)

    def validate(self, request: ExperimentRequest) -> Validation:
        no = refused(request.key)
        return Validation(not no, ("too dear",) if no else ())

    def submit(self, request: ExperimentRequest) -> str:
        return str(self._ask("submit", request.key))

    def lookup(self, key: str) -> str | None:
        found: str | None = self._ask("lookup", key)
        return found

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        done = self._ask("poll", list(handles))
        messages = [
            LabMessage(f"result-{handle}", key, outcome_of(key).to_json()) for handle, key in done
        ]
        # Each comes twice, and in the wrong order.
        return [*reversed(messages), *messages]

    def close(self, *, stop_jobs: bool = False) -> None:
        """Nothing to let go of."""

    def _ask(self, verb: str, what: Any) -> Any:
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(30)
                link.connect(self._address)
                link.sendall(json.dumps([verb, what]).encode() + b"\n")
                answer = link.makefile().readline()
            return json.loads(answer)
        except (OSError, ValueError) as error:
            raise LabError("The oracle does not answer.") from error


def read_runs(path: Path) -> list[Run]:
    """Returns what the lab has done, from its own ledger."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Run(**json.loads(line)) for line in lines]


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line.endswith(b"\n"):
            return  # it was killed before the request was whole
        verb, what = json.loads(line)
        answer = getattr(self.server, verb)(what)
        with suppress(BrokenPipeError):  # it was killed before it heard the answer
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class _Server(socketserver.UnixStreamServer):
    request_queue_size = 64

    def __init__(self, address: str, journal: Path, delivery: str) -> None:
        super().__init__(address, _Handler)
        self._journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._delivery = delivery
        self._by_key: dict[str, str] = {}
        self._runs: dict[str, Run] = {}

    def submit(self, key: str) -> str:
        if self._delivery == "A" and key in self._by_key:
            return self._by_key[key]
        run = Run(f"run-{len(self._runs) + 1}", key, time.time())
        os.write(self._journal, json.dumps(run.__dict__).encode() + b"\n")
        os.fsync(self._journal)
        self._runs[run.handle] = run
        self._by_key.setdefault(key, run.handle)
        return run.handle

    def lookup(self, key: str) -> str | None:
        return self._by_key.get(key)

    def poll(self, handles: list[str]) -> list[tuple[str, str]]:
        now = time.time()
        known = [self._runs[h] for h in handles if h in self._runs]
        return [(r.handle, r.key) for r in known if now - r.began > 0.02 * chance(r.key)]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error."""


if __name__ == "__main__":
    _Server(sys.argv[1], Path(sys.argv[2]), sys.argv[3]).serve_forever(poll_interval=0.05)
