"""Places at which a test has the process killed, to see what survives.

`CLOUDSEED_FAILPOINT="settle.before:3"` kills the process, as `kill -9` does, when it comes to the
place `settle.before` for the third time. Without that variable, coming by costs one comparison.
"""

from __future__ import annotations

import os
import signal

__all__ = ["VARIABLE", "arm", "passing"]

VARIABLE = "CLOUDSEED_FAILPOINT"

_armed: dict[str, int] = {}


def arm(text: str) -> None:
    """Sets where the process dies, as `place` or `place:count`; "" for nowhere."""
    _armed.clear()
    place, _, count = text.partition(":")
    if place:
        _armed[place] = int(count or 1)


def passing(place: str) -> None:
    """Comes by a place."""
    if place in _armed:
        _armed[place] -= 1
        if _armed[place] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get(VARIABLE, ""))
