"""An instrument that speaks SiLA 2: an observable command that makes and measures.

SiLA 2 has no keys: a command called twice runs twice, and a server cannot be asked what it has. So
this lab is of class C. The execution's UUID is kept as soon as it comes; with it the execution is
found again after a restart of ours. A server that was restarted itself, or whose execution has
outlived its lifetime, has lost it: then nobody knows, and a person decides.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import Field, model_validator

from cloudseed.errors import LabError, MissingDependencyError
from cloudseed.lab_adapters._facts import RemoteSettings, filled
from cloudseed.lab_adapters._remote import RemoteLab
from cloudseed.lab_adapters._settings import read_settings
from cloudseed.lab_adapters.base import BaseLab
from cloudseed.lab_adapters.protocols import (
    EFFECTS,
    DeliveryClass,
    FailureKind,
    Feature,
    Measurement,
    Outcome,
    OutcomeKind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    from cloudseed.lab_adapters._remote import Sending
    from cloudseed.lab_adapters._store import Job
    from cloudseed.lab_adapters.protocols import ExperimentRequest, JobState

__all__ = ["SilaLab", "SilaSettings"]

LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})


class SilaSettings(RemoteSettings):
    """What an owner may set about a SiLA 2 server."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Where the server is.")
    port: int = Field(ge=1, le=65535, description="Its port.")
    ca: Path | None = Field(
        default=None, description="Authority of its certificate (PEM); by default the system's."
    )
    insecure: bool = Field(
        default=False, description="Whether to speak without TLS; on this machine only."
    )
    feature: str = Field(min_length=1, description="Identifier of the feature.")
    command: str = Field(min_length=1, description="Identifier of its observable command.")
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="With {formula}, {cif}, {key} and {properties} filled in."
    )
    responses: dict[str, str] = Field(
        description="Property, or PROPERTY_sigma -> response of the command."
    )
    errors: dict[str, FailureKind] = Field(
        default_factory=dict,
        description="Defined execution error -> which failure it is; by default instrument_fault.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.insecure and self.host not in LOCAL:
            raise ValueError("SiLA 2 asks for TLS: beyond this machine leave `insecure` out")
        if missing := sorted(set(self.properties) - set(self.responses)):
            raise ValueError(f"`responses` does not say where {missing[0]!r} is")
        for name, failure in self.errors.items():
            if EFFECTS[failure].outcome is OutcomeKind.UNKNOWN:
                raise ValueError(f"the error {name!r} is an answer, not {failure.value}")
        return self


class SilaLab(RemoteLab):
    """An instrument behind a SiLA 2 server."""

    delivery = DeliveryClass.C
    features = frozenset({Feature.SAFE_STOP})
    settings_type = SilaSettings

    def __init__(self, settings: SilaSettings, workdir: Path) -> None:
        super().__init__(settings, workdir)
        self.settings = settings
        self._client: Any = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> SilaLab:
        """Opens the lab from plain values.

        Raises:
            SpecError: If a setting is unknown or wrong.
            MissingDependencyError: If the extra `sila2` is not installed.
        """
        settings = read_settings(SilaSettings, config, "sila2")
        try:
            import sila2.client  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                "A SiLA 2 server needs the library sila2.", hint="pip install 'cloudseed[sila2]'"
            ) from error
        return cls(settings, workdir)

    def close(self, *, stop_jobs: bool = False) -> None:
        """Closes the connection; what the instrument has taken goes on there."""
        del stop_jobs
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def cancel(self, handle: str) -> JobState:
        """Raises: a command of SiLA 2 cannot be taken back.

        Raises:
            LabError: Always.
        """
        return BaseLab.cancel(self, handle)

    def _open(self) -> None:
        self._greet()

    def _recipe(self, request: ExperimentRequest) -> Mapping[str, Any]:
        settings = self.settings
        return {
            "command": f"{settings.feature}.{settings.command}",
            "parameters": filled(settings.parameters, request),
        }

    def _find(self, job: Job, sending: Sending | None) -> str | None:
        if sending is None:
            return None
        raise LabError(
            f"Nobody can say whether the instrument took {job.key!r}: the call got no answer.",
            hint="SiLA 2 has no keys. Look at the instrument, then report what became of it.",
            key=job.key,
        )

    def _look(self, key: str) -> str | None:
        del key
        return None

    def _send(self, job: Job, request: ExperimentRequest) -> str:
        from sila2.framework.errors.command_execution_not_accepted import (
            CommandExecutionNotAccepted,
        )
        from sila2.framework.errors.validation_error import ValidationError

        try:
            with self._speaking():
                instance = self._command()(**self._recipe(request)["parameters"])
        except LabError as error:
            if isinstance(
                error.__cause__, CommandExecutionNotAccepted | ValidationError | TypeError
            ):
                self._forget(job.handle)  # it said no, so that it may be asked again
            raise
        uuid = str(instance.execution_uuid)
        instance.cancel_execution_info_subscription()
        return uuid

    def _ask(self, job: Job, name: str) -> Outcome | None:
        from sila2.framework.errors.command_execution_not_finished import (
            CommandExecutionNotFinished,
        )
        from sila2.framework.errors.defined_execution_error import DefinedExecutionError
        from sila2.framework.errors.invalid_command_execution_uuid import (
            InvalidCommandExecutionUUID,
        )
        from sila2.framework.errors.undefined_execution_error import UndefinedExecutionError

        try:
            with self._speaking():
                responses = _execution(self._client, self._command(), UUID(name)).get_responses()
        except LabError as error:
            cause = error.__cause__
            if isinstance(cause, CommandExecutionNotFinished):
                return None
            if isinstance(cause, InvalidCommandExecutionUUID):
                reason = f"The server does not know the execution {name}: was it restarted?"
                return Outcome(OutcomeKind.UNKNOWN, reason=reason, failure=FailureKind.UNKNOWN)
            if isinstance(cause, DefinedExecutionError | UndefinedExecutionError):
                return self._failure(cause, name)
            raise
        return self._outcome(job, name, responses)

    def _failure(self, error: Any, name: str) -> Outcome:
        """Returns the outcome of an execution that ended in an error of the instrument's."""
        identifier = str(getattr(error, "identifier", "")).rpartition("/")[2]
        kind = self.settings.errors.get(identifier, FailureKind.INSTRUMENT_FAULT)
        words = " ".join(str(getattr(error, "message", error)).split())[:300]
        reason = f"{identifier}: {words}" if identifier else words
        return Outcome.failed(kind, reason or "It gave no reason.", **self._told(name))

    def _outcome(self, job: Job, name: str, responses: Any) -> Outcome:
        found: dict[str, Any] = {
            p: getattr(responses, response, None) for p, response in self.settings.responses.items()
        }
        values = {p: float(v) for p, v in found.items() if isinstance(v, int | float)}
        wanted = job.request["properties"]
        if missing := [p for p in wanted if p not in values]:
            reason = f"The command's responses lack {missing[0]}."
            return Outcome.failed(FailureKind.MEASUREMENT_INVALID, reason, **self._told(name))
        units = self.settings.properties
        measurements = tuple(
            Measurement(p, values[p], units[p], values.get(f"{p}_sigma"), method="SiLA 2")
            for p in wanted
        )
        return Outcome(OutcomeKind.MEASURED, measurements, **self._told(name))

    def _told(self, name: str) -> dict[str, Any]:
        return {"simulated": self.settings.simulated, "details": {"execution": name}}

    def _greet(self) -> Mapping[str, Any]:
        with self._speaking():
            self._command()
            return {"server": str(self._client.SiLAService.ServerName.get())}

    def _command(self) -> Any:
        """Returns the command, of a connection that is opened where there is none."""
        settings = self.settings
        if self._client is None:
            self._client = _connect(settings)
        feature = getattr(self._client, settings.feature, None)
        command = getattr(feature, settings.command, None)
        if command is None:
            raise LabError(
                f"The server has no command {settings.feature}.{settings.command}.",
                hint="Check `feature` and `command` against its feature definitions.",
            )
        return command

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Maps what the library raises; drops a connection that failed."""
        from sila2.framework.abc.sila_error import SilaError
        from sila2.framework.errors.sila_connection_error import SilaConnectionError

        where = f"{self.settings.host}:{self.settings.port}"
        try:
            yield
        except SilaConnectionError as error:
            self.close()
            raise LabError(
                f"The SiLA 2 server at {where} cannot be reached.",
                hint="Is it serving, with TLS where you ask for it, and is the address right?",
            ) from error
        except (SilaError, RuntimeError, OSError, TypeError, ValueError) as error:
            words = " ".join(str(error).split())[:300]
            raise LabError(
                f"The SiLA 2 server at {where} says: {words}",
                hint="Check the command's parameters against its feature definition.",
            ) from error


def _connect(settings: SilaSettings) -> Any:
    from sila2.client import SilaClient

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about features of the server that are not ours
        if settings.insecure:
            return SilaClient(settings.host, settings.port, insecure=True)
        roots = None if settings.ca is None else settings.ca.read_bytes()
        return SilaClient(settings.host, settings.port, root_certs=roots)


def _execution(client: Any, command: Any, uuid: UUID) -> Any:
    """Returns an execution that was begun earlier, without its thread that follows the progress."""
    from sila2.client.client_observable_command_instance import ClientObservableCommandInstance

    class Execution(ClientObservableCommandInstance):  # type: ignore[misc]
        def __init__(self) -> None:
            self._parent_client, self._client_command = client, command

        @property
        def execution_uuid(self) -> UUID:
            return uuid

    return Execution()
