"""A real SiLA 2 server: an instrument that writes down each run. PORT FOLDER [KEY CERTIFICATE].

It runs in a process of its own, so that it can be killed; `serve` plays it for the kit.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

IDENTIFIERS = {"feature": "Balance", "command": "Weigh"}

DEFINITION = """<?xml version="1.0" encoding="utf-8" ?>
<Feature SiLA2Version="1.0" FeatureVersion="1.0" Originator="org.cloudseed" Category="tests"
  xmlns="http://www.sila-standard.org" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.sila-standard.org https://gitlab.com/SiLA2/sila_base/raw/master/schema/FeatureDefinition.xsd">
  <Identifier>Balance</Identifier>
  <DisplayName>Balance</DisplayName>
  <Description>Makes a sample and weighs it.</Description>
  <Command>
    <Identifier>Weigh</Identifier>
    <DisplayName>Weigh</DisplayName>
    <Description>Makes a sample and weighs it.</Description>
    <Observable>Yes</Observable>
    <Parameter>
      <Identifier>Key</Identifier>
      <DisplayName>Key</DisplayName>
      <Description>What to write on the sample.</Description>
      <DataType><Basic>String</Basic></DataType>
    </Parameter>
    <Parameter>
      <Identifier>Formula</Identifier>
      <DisplayName>Formula</DisplayName>
      <Description>What to make.</Description>
      <DataType><Basic>String</Basic></DataType>
    </Parameter>
    <Response>
      <Identifier>Density</Identifier>
      <DisplayName>Density</DisplayName>
      <Description>In g/cm^3.</Description>
      <DataType><Basic>Real</Basic></DataType>
    </Response>
    <Response>
      <Identifier>Uncertainty</Identifier>
      <DisplayName>Uncertainty</DisplayName>
      <Description>In g/cm^3.</Description>
      <DataType><Basic>Real</Basic></DataType>
    </Response>
    <DefinedExecutionErrors>
      <Identifier>SampleMelted</Identifier>
    </DefinedExecutionErrors>
  </Command>
  <DefinedExecutionError>
    <Identifier>SampleMelted</Identifier>
    <DisplayName>Sample Melted</DisplayName>
    <Description>There is nothing left to weigh.</Description>
  </DefinedExecutionError>
</Feature>
"""


def run(port: int, folder: Path, tls: list[Path], work: float) -> None:
    """Serves until it is killed."""
    from sila2.framework import Feature
    from sila2.framework.errors.defined_execution_error import DefinedExecutionError
    from sila2.server import FeatureImplementationBase, SilaServer

    feature = Feature(DEFINITION)

    class Balance(FeatureImplementationBase):  # type: ignore[misc]
        Weigh_default_lifetime_of_execution = timedelta(minutes=30)

        def Weigh(self, Key: str, Formula: str, *, metadata: Any, instance: Any) -> Any:
            instance.begin_execution()
            with (folder / "runs").open("a") as stream:
                stream.write(f"{Key}\n")
            time.sleep(work)
            if Formula == "melts":
                error = feature.defined_execution_errors["SampleMelted"]
                raise DefinedExecutionError(error, "It melted.")
            if Formula == "breaks":
                raise RuntimeError("The pan is stuck.")
            return 5.0, 0.1

    server = SilaServer("Bench", "Balance", "A balance.", "1.0", "https://example.org")
    server.set_feature_implementation(feature, Balance(server))
    if tls:
        key, certificate = (path.read_bytes() for path in tls)
        server.start("127.0.0.1", port, key, certificate, enable_discovery=False)
    else:
        server.start_insecure("127.0.0.1", port, enable_discovery=False)
    signal.pause()


class Instrument:
    """The server in a process of its own."""

    def __init__(
        self, folder: Path, port: int, *, tls: tuple[Path, Path] | None = None, work: float = 0.02
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, port
        self._more = [str(work), *map(str, tls or ())]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        paths = os.pathsep.join(p for p in sys.path if p)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(self.port), str(self.folder), *self._more],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONPATH": paths},
            )
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def runs(self) -> list[str]:
        """Returns the key of each run that began."""
        path = self.folder / "runs"
        return path.read_text().split() if path.exists() else []


def certificate(folder: Path) -> tuple[Path, Path]:
    """Makes a key and a certificate for this machine that is its own authority."""
    folder.mkdir(parents=True, exist_ok=True)
    key, found = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "1"),
            *("-subj", "/CN=SiLA2", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", str(key), "-out", str(found)),
        ],
        check=True,
        capture_output=True,
    )
    return key, found


def settings(port: int, **more: Any) -> dict[str, Any]:
    """Returns the settings of a lab behind it."""
    return {
        "port": port,
        "insecure": True,
        "properties": {"density": "g/cm^3"},
        "simulated": True,
        "parameters": {"Key": "{key}", "Formula": "{formula}"},
        "responses": {"density": "Density", "density_sigma": "Uncertainty"},
        "errors": {"SampleMelted": "sample_failed"},
        "elements": ["Ba", "Ca", "O", "Sr", "Ti"],
        "concurrency": 4,
        **IDENTIFIERS,
        **more,
    }


def serve(workdir: Path, config: Mapping[str, Any], ended: threading.Event) -> None:
    """An operator: such an instrument at the port that the settings name."""
    with Instrument(workdir.parent / "instrument", int(config["port"])):
        ended.wait()


if __name__ == "__main__":
    run(int(sys.argv[1]), Path(sys.argv[2]), [Path(p) for p in sys.argv[4:]], float(sys.argv[3]))
