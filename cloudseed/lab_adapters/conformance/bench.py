"""The bench that checks stand on: opens a lab, makes requests, waits, kills senders."""

from __future__ import annotations

import importlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from cloudseed.crystal import Cell, read_crystals
from cloudseed.errors import InputError, LabError, UsageError
from cloudseed.lab_adapters.base import operable
from cloudseed.lab_adapters.protocols import ExperimentRequest, Outcome, OutcomeKind
from cloudseed.lab_adapters.registry import load_lab

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cloudseed.lab_adapters.conformance.settings import CheckSettings
    from cloudseed.lab_adapters.protocols import LabMessage, OperableLab

__all__ = ["Bench", "Failed", "NotApplicable"]

START = 15.0
"""Seconds that an operator may take to get its lab ready."""


class Failed(Exception):  # noqa: N818  a verdict, no error
    """A promise that is not kept; the text says which and how."""


class NotApplicable(Exception):  # noqa: N818  a verdict, no error
    """A promise that this lab does not make; the text says why."""


class Bench:
    """A lab under test, in a folder of its own.

    Args:
        adapter: An adapter's name, or "module:Class".
        settings: What its integrator told.
        folder: An empty folder.
    """

    def __init__(self, adapter: str, settings: CheckSettings, folder: Path) -> None:
        self.adapter = adapter
        self.settings = settings
        self.workdir = folder / "lab"
        self._lab: OperableLab | None = None
        self._run = secrets.token_hex(4)
        self._count = 0
        self._materials = _materials(settings.structures)
        self._ended = threading.Event()
        self._operator: threading.Thread | None = None
        self._trouble = ""
        self._sample: dict[str, tuple[str, LabMessage]] | Failed | None = None

    def __enter__(self) -> Self:
        if self.settings.operator is not None:
            function = _function(self.settings.operator)
            self._operator = threading.Thread(target=self._play, args=(function,), daemon=True)
            self._operator.start()
            self._await_operator()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._ended.set()
        if self._operator is not None:
            self._operator.join(timeout=10)

    def _await_operator(self) -> None:
        """Gives the operator a moment to get the lab ready; if it does not, the checks tell."""
        deadline = time.monotonic() + START
        while not self.lab.health().ready and time.monotonic() < deadline and not self._trouble:
            time.sleep(0.05)

    def _play(self, operator: Callable[..., object]) -> None:
        try:
            operator(self.workdir, dict(self.settings.config), self._ended)
        except Exception as error:  # another's code may raise anything
            self._trouble = f"its operator died: {type(error).__name__}: {error}"

    @property
    def lab(self) -> OperableLab:
        """The lab, opened where it is not."""
        if self._lab is None:
            self._lab = operable(
                load_lab(self.adapter, self.settings.config, self.workdir, by_path=True)
            )
        return self._lab

    def close(self) -> None:
        """Lets go of the lab; the next use opens it again, which is a restart."""
        lab, self._lab = self._lab, None
        if lab is not None:
            lab.close()

    def key(self) -> str:
        """Returns a key that was never used."""
        self._count += 1
        return f"check-{self._run}-{self._count}"

    def request(self, material: int = 0) -> ExperimentRequest:
        """Returns a request, under a new key, for one of the materials.

        It asks for every property that the check is about.
        """
        label, cell = self._materials[material % len(self._materials)]
        wanted = self.settings.properties or tuple(sorted(self.lab.describe().properties))
        return ExperimentRequest(self.key(), label, label, cell, wanted)

    def accepted(self) -> ExperimentRequest:
        """Returns a request that the lab accepts.

        Raises:
            Failed: If it accepts none.
        """
        verdicts = []
        for material in range(len(self._materials)):
            request = self.request(material)
            verdict = self.lab.validate(request)
            if verdict.accepted:
                return request
            verdicts.append(f"{request.label}: {'; '.join(verdict.reasons)}")
        raise Failed(
            f"it accepts none of the materials ({' / '.join(verdicts)}); give `structures` that it"
            " can make"
        )

    def wait(self, handles: Sequence[str]) -> dict[str, LabMessage]:
        """Polls until each handle is answered for good; returns key -> message.

        Raises:
            Failed: If that takes too long, or a key gets two different messages.
        """
        deadline = time.monotonic() + self.settings.timeout
        found: dict[str, LabMessage] = {}
        pause = 0.01
        while True:
            for message in self.lab.poll(list(handles)):
                if Outcome.from_json(message.raw).kind is OutcomeKind.UNKNOWN:
                    continue
                known = found.setdefault(message.key, message)
                if known != message:
                    raise Failed(f"the key {message.key} has two different results")
            if len(found) >= len(set(handles)):
                return found
            if self._trouble:
                raise Failed(self._trouble)
            if time.monotonic() > deadline:
                raise Failed(
                    f"{len(found)} of {len(set(handles))} results came within"
                    f" {self.settings.timeout:g} s (`timeout`)"
                )
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    def sample(self) -> dict[str, tuple[str, LabMessage]]:
        """Returns key -> handle and message of finished experiments; they are done once."""
        if isinstance(self._sample, Failed):
            raise self._sample
        if self._sample is None:
            try:
                self._sample = self._experiments()
            except Failed as failed:
                self._sample = failed
                raise
        return self._sample

    def _experiments(self) -> dict[str, tuple[str, LabMessage]]:
        first = self.accepted()
        requests = [first]
        for material in range(1, len(self._materials)):
            request = self.request(material)
            if request.label != first.label and self.lab.validate(request).accepted:
                requests.append(request)
        handles = {r.key: self.lab.submit(r) for r in requests}
        messages = self.wait(list(handles.values()))
        strange = sorted(set(messages) - set(handles))
        if strange:
            raise Failed(f"a result came for the key {strange[0]!r}, which nobody used")
        return {key: (handles[key], m) for key, m in messages.items()}

    def send_and_die(self, request: ExperimentRequest, pause: float | None) -> None:
        """Has another process send a request, and kills it after `pause` seconds.

        Args:
            request: What it sends.
            pause: None waits until the lab has answered, and kills it before it can use the answer.

        Raises:
            LabError: If the process cannot open the lab.
        """
        self.close()
        call = {
            "adapter": self.adapter,
            "config": self.settings.config,
            "workdir": str(self.workdir),
            "request": request.to_json(),
        }
        command = [sys.executable, "-m", "cloudseed.lab_adapters.conformance.sender"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        ) as sender:
            assert sender.stdin is not None
            assert sender.stdout is not None
            late = threading.Timer(self.settings.timeout, sender.kill)
            late.start()
            sender.stdin.write(json.dumps(call).encode() + b"\n")
            sender.stdin.flush()
            words = sender.stdout.readline()
            if words == b"sending\n" and pause is None:
                words = sender.stdout.readline()
            elif words == b"sending\n":
                time.sleep(pause or 0.0)
            sender.send_signal(signal.SIGKILL)
            late.cancel()
        if words not in {b"sending\n", b"sent\n"}:
            raise LabError(f"Another process could not send: {words.decode().strip() or 'died'}")

    def oversized(self, atoms: int) -> ExperimentRequest:
        """Returns a request for a cell of so many atoms."""
        request = self.request()
        side = 3.0 * atoms
        lattice = ((side, 0.0, 0.0), (0.0, 3.0, 0.0), (0.0, 0.0, 3.0))
        species = tuple(request.cell.species[:1] * atoms)
        coords = tuple((n / atoms, 0.0, 0.0) for n in range(atoms))
        return replace(request, cell=Cell(lattice, species, coords))

    def asking(self, name: str) -> ExperimentRequest:
        """Returns a request that also asks for another property."""
        request = self.request()
        return replace(request, properties=(*request.properties, name))

    def with_element(self, symbol: str) -> ExperimentRequest:
        """Returns a request whose first atom is another element."""
        request = self.request()
        species = (symbol, *request.cell.species[1:])
        return replace(request, cell=replace(request.cell, species=species))


def _materials(structures: Sequence[Path]) -> list[tuple[str, Cell]]:
    if not structures:
        return [(f"{big}TiO3", _perovskite(big, a)) for big, a in _LATTICES]
    cells = []
    for crystal in read_crystals(structures):
        if isinstance(crystal, InputError):
            raise crystal
        cell = crystal.build()
        cells.append((cell.formula, cell))
    return cells


_LATTICES = (("Sr", 3.945), ("Ca", 3.885), ("Ba", 4.032))
"""Cubic perovskites ATiO3 and their lattice constants, angstrom."""


def _perovskite(big: str, a: float) -> Cell:
    coords = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5))
    lattice = ((a, 0.0, 0.0), (0.0, a, 0.0), (0.0, 0.0, a))
    return Cell(lattice, (big, "Ti", "O", "O", "O"), coords)


def _function(path: str) -> Callable[..., object]:
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"The operator {path!r} cannot be imported: {error}.",
            hint='Give "module:function", from a module on the Python path.',
        ) from error
    if not callable(function):
        raise UsageError(f"The operator {path!r} is no function.", hint="See `operator`.")
    found: Callable[..., object] = function
    return found
