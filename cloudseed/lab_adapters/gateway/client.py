"""A lab behind the gateway's REST protocol, and the other end for labs that fetch their work."""

from __future__ import annotations

import base64
import json
import time
from datetime import datetime
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode, urlsplit

import requests
import urllib3
from pydantic import Field, model_validator

from cloudseed.errors import LabError
from cloudseed.lab_adapters._settings import LabSettings, read_settings
from cloudseed.lab_adapters.base import BaseLab
from cloudseed.lab_adapters.gateway.signing import HEADERS, Signer, read_secret
from cloudseed.lab_adapters.gateway.wire import MOST, Held, decode, events_in, messages_in
from cloudseed.lab_adapters.protocols import ExperimentRequest, Health, JobState, Lease

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from cloudseed.lab_adapters.protocols import (
        EventPage,
        JobStatus,
        LabDescription,
        LabMessage,
        Outcome,
        Validation,
    )

__all__ = ["GatewayLab", "GatewaySettings", "GatewayWorker", "HttpLine", "Line", "read_answer"]

LARGEST = 50_000_000
"""Bytes of the largest answer that is read."""

MEMORY = 60.0
"""Seconds for which a description is remembered."""


class GatewaySettings(LabSettings):
    """What an owner may set about a lab behind the gateway."""

    url: str = Field(description="Such as https://lab.example.org:8470.")
    key_id: str = Field(description="Name of the key that signs.")
    secret_file: Path | None = Field(default=None, description="A file that only you can read.")
    secret_env: str | None = Field(default=None, description="Or an environment variable.")
    timeout: float = Field(default=30.0, gt=0, description="Seconds an answer may take.")
    ca: Path | None = Field(default=None, description="Authority of the lab's certificate (PEM).")
    cert: Path | None = Field(default=None, description="This side's certificate (PEM).")
    cert_key: Path | None = Field(default=None, description="Its private key (PEM).")
    insecure: bool = Field(
        default=False, description="Whether it may go beyond this machine without TLS."
    )

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("`url` must begin with https:// and name a host")
        near = parts.hostname in {"127.0.0.1", "::1", "localhost"}
        if parts.scheme == "http" and not near and not self.insecure:
            raise ValueError("beyond this machine `url` must begin with https://")
        return self


class Line(Protocol):
    """What carries signed requests to a lab and checked answers back."""

    def ask(self, method: str, target: str, data: Any = None) -> Any:
        """Sends a request and returns the answer.

        Raises:
            LabError: If the lab cannot be reached, refuses, fails, or its answer is not signed.
        """
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...


class HttpLine:
    """Requests over HTTP.

    Args:
        settings: Where the lab is and who asks.

    Raises:
        UsageError: If the secret cannot be used.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._signer = Signer(
            settings.key_id, read_secret(settings.secret_file, settings.secret_env)
        )
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy and no netrc between us and the lab
        if settings.ca is not None:
            self._session.verify = str(settings.ca)
        if settings.cert is not None:
            self._session.cert = (str(settings.cert), str(settings.cert_key or settings.cert))

    def ask(self, method: str, target: str, data: Any = None) -> Any:
        """Sends a request and returns the answer.

        Raises:
            LabError: If the lab cannot be reached, refuses, fails, or its answer is not signed.
        """
        body = b"" if data is None else json.dumps(data).encode()
        headers = self._signer.headers(method, target, body)
        nonce = headers[HEADERS[2]]
        try:
            with self._session.request(
                method,
                self._settings.url.rstrip("/") + target,
                data=body,
                headers=headers | {"content-type": "application/json"},
                timeout=self._settings.timeout,
                allow_redirects=False,
                stream=True,
            ) as answer:
                raw = answer.raw.read(LARGEST + 1, decode_content=True)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise LabError(
                f"The lab at {self._settings.url} cannot be reached: {type(error).__name__}.",
                hint="Is it serving, and is the address right?",
            ) from error
        if len(raw) > LARGEST:
            raise LabError("The lab's answer is too large.")
        signature = answer.headers.get(HEADERS[3], "")
        return read_answer(self._signer, answer.status_code, nonce, raw, signature)

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()


def read_answer(signer: Signer, status: int, nonce: str, raw: bytes, signature: str) -> Any:
    """Checks an answer and returns what it says.

    Raises:
        LabError: If the lab refuses or fails, or its answer is not signed.
    """
    if not signature and status in {401, 413, 503}:
        raise LabError(
            f"The lab does not listen: {_error(raw)[0]}", hint="Check the key and the clock."
        )
    signer.check_answer(status, nonce, raw, signature)
    if status != 200:
        message, hint = _error(raw)
        raise LabError(message, hint=hint)
    try:
        return json.loads(raw)
    except ValueError as error:
        raise LabError("The lab's answer is no JSON.") from error


def _error(raw: bytes) -> tuple[str, str]:
    try:
        data = json.loads(raw)
        return str(data["error"])[:500], str(data.get("hint", ""))[:500]
    except (ValueError, KeyError, TypeError):
        return f"it answered {raw[:100]!r}", ""


class GatewayLab(BaseLab):
    """A lab behind the gateway.

    Args:
        line: What carries the words.
    """

    settings_type = GatewaySettings

    def __init__(self, line: Line) -> None:
        self._line = line
        self._known: tuple[float, LabDescription] | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], workdir: Path) -> GatewayLab:
        """Opens the lab from plain values.

        Raises:
            SpecError: If a setting is unknown or wrong.
            UsageError: If the secret cannot be used.
        """
        del workdir
        return cls(HttpLine(read_settings(GatewaySettings, config, "gateway")))

    def describe(self) -> LabDescription:
        """Returns what the lab says, remembered for a minute.

        Raises:
            LabError: If the lab cannot be reached.
        """
        if self._known is None or time.monotonic() - self._known[0] > MEMORY:
            found: LabDescription = self._read("description", "GET", "/v1/description")
            self._known = (time.monotonic(), found)
        return self._known[1]

    def validate(self, request: ExperimentRequest) -> Validation:
        """Asks the lab."""
        found: Validation = self._read("validation", "POST", "/v1/validate", request.to_json())
        return found

    def submit(self, request: ExperimentRequest) -> str:
        """Hands a request over.

        Raises:
            LabError: If the lab cannot be reached, or does not take it.
        """
        answer = self._line.ask("POST", "/v1/submit", request.to_json())
        return str(_part(answer, "handle"))

    def lookup(self, key: str) -> str | None:
        """Asks the lab."""
        return self.reconcile([key])[0].handle

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        """Asks the lab, a thousand handles at a time."""
        found: list[LabMessage] = []
        for start in range(0, len(handles), MOST):
            asked = {"handles": list(handles[start : start + MOST])}
            answer = self._line.ask("POST", "/v1/poll", asked)
            found += _decoded(messages_in, answer)
        return found

    def events(self, cursor: str | None = None) -> EventPage:
        """Asks the lab."""
        query = "" if cursor is None else "?" + urlencode({"cursor": cursor})
        page: EventPage = _decoded(events_in, self._line.ask("GET", f"/v1/events{query}"))
        return page

    def cancel(self, handle: str) -> JobState:
        """Asks the lab."""
        answer = self._line.ask("POST", "/v1/cancel", {"handle": handle})
        state: JobState = _decoded(JobState, _part(answer, "state"))
        return state

    def safe_stop(self, reason: str) -> None:
        """Tells the lab."""
        self._line.ask("POST", "/v1/stop", {"reason": reason})

    def health(self) -> Health:
        """Asks the lab; one that cannot be reached is not ready."""
        try:
            found: Health = self._read("health", "GET", "/v1/health")
        except LabError as error:
            return Health(ready=False, reason=error.message)
        return found

    def reconcile(self, keys: Sequence[str]) -> Sequence[JobStatus]:
        """Asks the lab, a thousand keys at a time."""
        found: list[JobStatus] = []
        for start in range(0, len(keys), MOST):
            asked = {"keys": list(keys[start : start + MOST])}
            found += self._read("statuses", "POST", "/v1/reconcile", asked)
        if [s.key for s in found] != list(keys):
            raise LabError("The lab did not answer for each key.")
        return found

    def close(self, *, stop_jobs: bool = False) -> None:
        """Closes the connections; what the lab has taken goes on there."""
        del stop_jobs
        self._line.close()

    def _read(self, kind: str, method: str, target: str, data: Any = None) -> Any:
        return _decoded(lambda answer: decode(kind, answer), self._line.ask(method, target, data))


class GatewayWorker:
    """The lab's end of pull mode: asks a gateway for work and reports what came of it.

    Args:
        settings: Where the gateway is; the key needs the role `lab`.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._line = HttpLine(settings)

    def lease(self, worker: str, count: int, seconds: float) -> Sequence[Lease]:
        """Asks for work."""
        order = {"worker": worker, "count": count, "seconds": seconds}
        answer = self._line.ask("POST", "/v1/leases", order)
        held = _decoded(lambda found: [Held.model_validate(one) for one in found], answer)
        return [
            Lease(h.handle, ExperimentRequest.from_json(h.request.model_dump()), h.token, h.until)
            for h in held
        ]

    def heartbeat(self, token: str, seconds: float) -> datetime:
        """Holds a job for longer."""
        answer = self._line.ask("POST", "/v1/heartbeat", {"token": token, "seconds": seconds})
        until: datetime = _decoded(datetime.fromisoformat, _part(answer, "until"))
        return until

    def complete(self, token: str, outcome: Outcome) -> None:
        """Reports an outcome."""
        raw = base64.b64encode(outcome.to_json()).decode()
        self._line.ask("POST", "/v1/complete", {"token": token, "raw": raw})

    def close(self) -> None:
        """Closes the connections."""
        self._line.close()


def _part(answer: Any, name: str) -> Any:
    if not isinstance(answer, dict) or name not in answer:
        raise LabError(f"The lab's answer lacks {name!r}.", hint="Is it another version?")
    return answer[name]


def _decoded(read: Any, answer: Any) -> Any:
    try:
        return read(answer)
    except (ValueError, TypeError) as error:
        text = " ".join(str(error).split())[:200]
        raise LabError(
            f"The lab's answer cannot be read: {text}", hint="Is it another version?"
        ) from error
