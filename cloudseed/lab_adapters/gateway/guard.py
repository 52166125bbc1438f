"""Lets signed requests through to the application, signs its answers, refuses and logs the rest."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudseed.errors import LabError
from cloudseed.lab_adapters.gateway.signing import HEADERS, Signer, signer_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from cloudseed.lab_adapters.gateway.journal import Journal
    from cloudseed.lab_adapters.gateway.signing import KeySettings

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Message, Receive, Send], Awaitable[None]]

__all__ = ["LARGEST", "Guard", "Refused", "SignedApp"]

log = logging.getLogger("cloudseed.lab_adapters.gateway")

LARGEST = 5_000_000
"""Bytes of the largest request body."""

PULL = ("/v1/leases", "/v1/heartbeat", "/v1/complete")
"""What a lab's worker may ask; the rest is the agent's."""

OPEN = "/openapi.json"
"""What anybody may read."""

_TIME = re.compile(r"[0-9]{1,12}\.[0-9]{3}")
_NONCE = re.compile(r"[0-9a-f]{32}")


class Refused(Exception):  # noqa: N818  a verdict, no error
    """A request that is not let through; the text says why."""


class Guard:
    """Checks signatures.

    Args:
        keys: The keys that may be used.
        journal: Where nonces are kept.
        window: Seconds that a request's time may be off.

    Raises:
        UsageError: If a secret is missing, too short, or open to others.
    """

    def __init__(self, keys: Sequence[KeySettings], journal: Journal, window: float) -> None:
        self._keys = {key.id: (key, signer_of(key)) for key in keys}
        self._journal = journal
        self._window = window

    def check(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[Signer, str]:
        """Returns who signs the answer, and the request's nonce.

        Raises:
            Refused: If the request is not to be let through.
        """
        key_id, sent, nonce, signature = (headers.get(name, "") for name in HEADERS)
        if not (key_id and sent and nonce and signature):
            raise Refused("it is not signed")
        if key_id not in self._keys:
            raise Refused("its key is unknown")
        key, signer = self._keys[key_id]
        expected = signer.of_request(method, target, sent, nonce, body)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise Refused("its signature does not fit")
        if not key.is_valid(datetime.now(UTC)):
            raise Refused("its key is not valid now")
        now = time.time()
        if not (_NONCE.fullmatch(nonce) and _TIME.fullmatch(sent)):
            raise Refused("its time or nonce cannot be read")
        if abs(now - float(sent)) > self._window:
            raise Refused("its time is outside the window: check the clocks")
        path = target.partition("?")[0]
        if "%" in path:  # the application would read another path than the one checked here
            raise Refused("its path has a percent sign")
        if (path in PULL) != (key.role == "lab"):
            raise Refused(f"its key has the role {key.role!r}")
        if not self._journal.is_new(key_id, nonce, now, self._window):
            raise Refused("it was seen before")
        return signer, nonce


class SignedApp:
    """An ASGI application behind a guard.

    Args:
        app: The application.
        guard: Who may pass.
    """

    def __init__(self, app: App, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] != "http" or scope["path"] == OPEN:
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            await _refuse(send, 413, f"It has more than {LARGEST:,} bytes.")
            return
        target = (scope["raw_path"] + b"?" + scope["query_string"]).decode(errors="replace")
        target = target.rstrip("?")
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        try:
            signer, nonce = await asyncio.to_thread(
                self._guard.check, scope["method"], target, headers, body
            )
        except Refused as why:
            client = (scope.get("client") or ("unknown",))[0]
            key = headers.get(HEADERS[0], "")[:64]
            log.warning("refused %s from %s: %s", target, client, why, extra={"key": key})
            await _refuse(send, 401, f"The request is refused: {why}.")
            return
        except LabError as error:
            await _refuse(send, 503, error.message)
            return
        await self._answer(scope, body, send, signer, nonce)

    async def _answer(
        self, scope: Message, body: bytes, send: Send, signer: Signer, nonce: str
    ) -> None:
        start: Message = {}
        parts: list[bytes] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, keep)
        answer = b"".join(parts)
        signature = signer.of_answer(int(start["status"]), nonce, answer)
        start["headers"] = [*start["headers"], (HEADERS[3].encode(), signature.encode())]
        await send(start)
        await send({"type": "http.response.body", "body": answer})


async def _read(receive: Receive) -> bytes | None:
    """Returns a request's body, or None if it is too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


async def _refuse(send: Send, status: int, why: str) -> None:
    body = json.dumps({"error": why, "hint": ""}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
