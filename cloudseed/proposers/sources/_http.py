"""A web session that cannot hang: bounded tries, time, size and redirects.

Both database clients use it, one for every question; all its requests share one deadline. A request
is made in a thread of its own, for a server that sends a byte now and then, in the middle of a
header or of a name look-up, holds whoever waits for it. `optimade`'s own loop repeats an overloaded
server's answer for ever (it sets its count of attempts to zero at every turn), so nothing that it
would repeat may reach it.
"""

from __future__ import annotations

import queue
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloudseed.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import Response, Session

__all__ = ["bounded_session"]

TRIES = 4
"""How often one request is made where the server is busy or the line breaks."""

LONGEST_PAUSE = 10.0
"""Seconds between two tries, whatever the server asks for."""

TIMEOUT = (10.0, 60.0)
"""Seconds for connecting and for every piece of the answer."""

LONGEST_QUESTION = 600.0
"""Seconds for all pages and tries of one question."""

LARGEST_ANSWER = 200_000_000
"""Bytes of one answer."""

_BUSY = frozenset({429, 500, 502, 503, 504})
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def bounded_session() -> type[Session]:
    """Returns the class of a question's sessions, a `requests.Session`; its time begins now.

    Its `get` returns answers that are no errors, and raises an InputError otherwise.
    """
    import requests

    deadline = time.monotonic() + LONGEST_QUESTION

    class BoundedSession(requests.Session):  # type: ignore[misc]
        """Raises instead of waiting for ever."""

        def get(self, url: str | bytes, **options: Any) -> Response:
            text = url.decode() if isinstance(url, bytes) else url
            return _get(super().get, text, options, deadline)

    return BoundedSession


def _get(get: Any, url: str, options: dict[str, Any], deadline: float) -> Response:
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
            answer = _in_time(partial(_loaded, get, url, options, deadline), where.netloc, deadline)
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


def _in_time(call: Callable[[], Response], host: str, deadline: float) -> Response:
    """Returns a call's answer or raises its error; waits no longer than the deadline."""
    box: queue.SimpleQueue[Response | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            box.put(call())
        except Exception as error:  # it is raised where it is waited for
            box.put(error)

    threading.Thread(target=work, name="cloudseed-asking", daemon=True).start()
    try:
        found = box.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise _too_slow(host) from None
    if isinstance(found, Exception):
        raise found
    return found


def _loaded(get: Any, url: str, options: dict[str, Any], deadline: float) -> Response:
    """Asks and reads the whole answer, as far as size and time permit."""
    from requests.exceptions import ChunkedEncodingError
    from urllib3.exceptions import HTTPError

    answer: Response = get(url, **options)
    host = urlsplit(url).netloc
    parts, size = [], 0
    try:
        # Whatever has come is taken at once, so that the clock is seen between any two pieces.
        while part := answer.raw.read1(1 << 16, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > LARGEST_ANSWER:
                raise InputError(f"{host} sends too much.", hint="Ask for fewer structures.")
            if time.monotonic() > deadline:
                raise _too_slow(host)
    except HTTPError as error:
        raise ChunkedEncodingError(error) from error
    finally:
        answer.close()
    answer._content = b"".join(parts)  # where `content`, `text` and `json` look
    return answer


def _too_slow(host: str) -> InputError:
    return InputError(
        f"{host} takes longer than {LONGEST_QUESTION:g} s for the question.",
        hint="Ask for fewer structures, or try again later.",
    )


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
