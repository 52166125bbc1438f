"""JSON over HTTP to labs that speak it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from cloudseed.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JsonLine", "check_url"]

LARGEST = 50_000_000
"""Bytes of the largest answer that is read."""


def check_url(url: str, *, insecure: bool) -> None:
    """Refuses an address that is none, or leaves this machine without TLS.

    Raises:
        ValueError: If it cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("`url` must begin with https:// or http:// and name a host")
    if parts.username or parts.password:
        raise ValueError("`url` must not hold a password")
    near = parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if parts.scheme == "http" and not near and not insecure:
        raise ValueError("beyond this machine `url` must begin with https://, or set `insecure`")


class JsonLine:
    """Questions in JSON and answers in JSON.

    Args:
        url: Where the lab is.
        timeout: Seconds an answer may take.
        headers: What goes along with each question.
    """

    def __init__(self, url: str, timeout: float, headers: Mapping[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy and no netrc between us and the lab
        self._session.headers.update(headers or {})

    def ask(self, method: str, target: str, data: Any = None) -> tuple[int, dict[str, Any]]:
        """Sends a question; returns the status and the answer, which is an object.

        Raises:
            LabError: If the lab cannot be reached, or answers with something else.
        """
        try:
            with self._session.request(
                method,
                self._url + target,
                json=data,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as answer:
                raw = answer.raw.read(LARGEST + 1, decode_content=True)
                status = answer.status_code
        except (requests.RequestException, OSError) as error:
            raise LabError(
                f"The lab at {self._url} cannot be reached: {type(error).__name__}.",
                hint="Is it serving, and is the address right?",
            ) from error
        if len(raw) > LARGEST:
            raise LabError(f"The answer of the lab at {self._url} is too large.")
        try:
            found = json.loads(raw)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise LabError(
                f"The lab at {self._url} answered {status} and no JSON object.",
                hint="Is it the right server and version?",
            )
        return status, found

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()
