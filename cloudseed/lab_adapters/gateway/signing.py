"""Signatures between an agent and a lab: who sent this, when, and that nobody changed it.

A request is signed with HMAC-SHA-256 over its method, target, time, nonce and the digest of its
body; the answer over its status, the request's nonce and the digest of its body. A time outside the
window, a nonce seen before, or a key that is unknown, not yet or no longer valid is refused. Keys
overlap while they are rotated: the server knows old and new, the client changes, the old one goes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import Literal

from pydantic import AwareDatetime, Field

from cloudseed.errors import LabError, UsageError
from cloudseed.lab_adapters._settings import LabSettings

__all__ = ["HEADERS", "KeySettings", "Signer", "new_secret", "read_secret", "signer_of"]

_SCHEME = "cloudseed-1"
_LEAST = 32

HEADERS = ("x-cloudseed-key", "x-cloudseed-time", "x-cloudseed-nonce", "x-cloudseed-signature")
"""The headers of a signed request; an answer has the last one."""


class KeySettings(LabSettings):
    """A key: its name, where its secret is, and what it may do when."""

    id: str = Field(pattern=r"[A-Za-z0-9._-]{1,64}", description="Name of the key.")
    secret_file: Path | None = Field(default=None, description="A file that only you can read.")
    secret_env: str | None = Field(default=None, description="Or an environment variable.")
    role: Literal["agent", "lab"] = Field(
        default="agent", description="agent: it asks the lab; lab: it fetches work (pull mode)."
    )
    not_before: AwareDatetime | None = Field(default=None, description="Valid from, with zone.")
    not_after: AwareDatetime | None = Field(default=None, description="Valid until, with zone.")

    def is_valid(self, now: datetime) -> bool:
        """Says whether the key may be used at a time."""
        early = self.not_before is not None and now < self.not_before
        return not (early or (self.not_after is not None and now > self.not_after))


class Signer:
    """Signs and checks with one key.

    Args:
        key_id: Name of the key.
        secret: Its secret, at least 32 bytes.
    """

    def __init__(self, key_id: str, secret: bytes) -> None:
        self.key_id = key_id
        self._secret = secret

    def __repr__(self) -> str:
        return f"Signer({self.key_id!r})"

    def headers(self, method: str, target: str, body: bytes) -> dict[str, str]:
        """Returns the headers of a request that is sent now."""
        now, nonce = f"{datetime.now(UTC).timestamp():.3f}", secrets.token_hex(16)
        signature = self.of_request(method, target, now, nonce, body)
        return dict(zip(HEADERS, (self.key_id, now, nonce, signature), strict=True))

    def of_request(self, method: str, target: str, time: str, nonce: str, body: bytes) -> str:
        """Returns the signature of a request."""
        return self._sign(_SCHEME, method, target, self.key_id, time, nonce, body)

    def of_answer(self, status: int, nonce: str, body: bytes) -> str:
        """Returns the signature of the answer to the request with a nonce."""
        return self._sign(f"{_SCHEME}-answer", str(status), self.key_id, nonce, body)

    def check_answer(self, status: int, nonce: str, body: bytes, signature: str) -> None:
        """Refuses an answer that the holder of the secret did not give to this request.

        Raises:
            LabError: If the signature does not fit.
        """
        expected = self.of_answer(status, nonce, body)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise LabError(
                "The answer is not signed by the lab: it may be forged.",
                hint="Check the address, the key, and what is between here and the lab.",
            )

    def _sign(self, *parts: str | bytes) -> str:
        *head, body = parts
        assert isinstance(body, bytes)
        text = "\n".join([*map(str, head), hashlib.sha256(body).hexdigest()])
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()


def signer_of(key: KeySettings) -> Signer:
    """Returns the signer of a key.

    Raises:
        UsageError: If its secret is missing, too short, or open to others.
    """
    return Signer(key.id, read_secret(key.secret_file, key.secret_env))


def read_secret(file: Path | None, variable: str | None) -> bytes:
    """Reads a secret from a file or an environment variable.

    Raises:
        UsageError: If there is none or both, it is too short, or others can read the file.
    """
    if (file is None) == (variable is None):
        raise UsageError("A key needs `secret_file` or `secret_env`.", hint="Give one of the two.")
    if file is None:
        text = os.environ.get(variable or "", "")
    else:
        try:
            if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(f"Others can read the secret in {file}.", hint=f"chmod 600 {file}")
            text = file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"The secret {file} cannot be read.", hint=f"`cloudseed lab key {file}` makes one."
            ) from error
    secret = text.strip().encode()
    if len(secret) < _LEAST:
        raise UsageError(
            f"A secret needs at least {_LEAST} characters.", hint="`cloudseed lab key` makes one."
        )
    return secret


def new_secret(file: Path) -> None:
    """Writes a new secret to a new file that only its owner can read.

    Raises:
        UsageError: If the file is there already or cannot be written.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}.", hint="Name a new file."
        ) from error
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_urlsafe(48) + "\n")
