"""A web session that cannot hang: bounded tries, time, size and redirects.

Both database clients use it. `optimade`'s own loop repeats an overloaded server's answer for ever
(it sets its count of attempts to zero at every turn), so nothing that it would repeat may reach it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloudseed.errors import InputError

if TYPE_CHECKING:
    from requests import Response, Session

__all__ = ["bounded_session"]

TRIES = 4
"""How often one request is made where the server is busy or the line breaks."""

LONGEST_PAUSE = 10.0
"""Seconds between two tries, whatever the server asks for."""

TIMEOUT = (10.0, 60.0)
"""Seconds for connecting and for every piece of the answer."""

LONGEST_ANSWER = 300.0
"""Seconds for the whole of one answer."""

LARGEST_ANSWER = 200_000_000
"""Bytes of one answer."""

_BUSY = frozenset({429, 500, 502, 503, 504})
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def bounded_session() -> type[Session]:
    """Returns the class of such sessions, a `requests.Session`.

    Its `get` returns answers that are no errors, and raises an InputError otherwise.
    """
    import requests

    class BoundedSession(requests.Session):  # type: ignore[misc]
        """Raises instead of waiting for ever."""

        def get(self, url: str | bytes, **options: Any) -> Response:
            return _get(super().get, str(url), options)

    return BoundedSession


def _get(get: Any, url: str, options: dict[str, Any]) -> Response:
    from requests import RequestException

    where = urlsplit(url)
    if where.scheme != "https" and where.hostname not in _LOCAL:
        raise InputError(
            f"{url} is not an https address.", hint="Only https is spoken, but for this machine."
        )
    # Redirects are not followed: they would carry the key to another host.
    options |= {"timeout": TIMEOUT, "allow_redirects": False, "stream": True}
    trouble = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(min(0.5 * 2.0**attempt, LONGEST_PAUSE))
        try:
            answer: Response = get(url, **options)
            _load(answer)
        except RequestException as error:
            trouble = f"the line broke ({type(error).__name__})"
            continue
        if answer.status_code in _BUSY:
            trouble = f"it answers {answer.status_code} {answer.reason}"
            continue
        if answer.status_code != 200:
            raise _refused(where.netloc, answer)
        return answer
    raise InputError(
        f"{where.netloc} cannot be used now: {trouble}, {TRIES} times in a row.",
        hint="Try again later, or work with files.",
        url=url,
    )


def _load(answer: Response) -> None:
    """Reads the whole answer, as far as size and time permit."""
    deadline, parts, size = time.monotonic() + LONGEST_ANSWER, [], 0
    for part in answer.iter_content(1 << 16):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER or time.monotonic() > deadline:
            answer.close()
            raise InputError(
                f"{urlsplit(str(answer.url)).netloc} sends too much, or too slowly.",
                hint="Ask for fewer structures.",
            )
    answer._content = b"".join(parts)  # where `content`, `text` and `json` look


def _refused(host: str, answer: Response) -> InputError:
    if answer.status_code in {401, 403}:
        return InputError(
            f"{host} does not accept the key ({answer.status_code}).",
            hint="Set MP_API_KEY to a key of your account there.",
        )
    said = " ".join(answer.text[:200].split())
    return InputError(
        f"{host} refuses the question ({answer.status_code}).",
        hint=f"It says: {said}" if said else "Check the address and the question.",
    )
