"""Makes a proposer or filter from options that a user wrote."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any

from cloudseed.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["made", "nearest"]


def made(kind: str, name: str, maker: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Calls a maker with a user's options.

    Args:
        kind: "proposer" or "filter".
        name: What it is called.
        maker: A class or function.
        options: Its arguments.

    Raises:
        UsageError: If an option is unknown, missing or impossible; the hint names the nearest.
    """
    known = list(inspect.signature(maker).parameters)
    for option in options:
        if option not in known:
            raise UsageError(
                f"The {kind} {name!r} has no option {option!r}.",
                hint=nearest(option, known) if known else "It has none.",
                option=option,
            )
    try:
        return maker(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"The {kind} {name!r} cannot be made of {dict(options)}: {error}.",
            hint=f"Its options are {', '.join(known)}." if known else "It has no options.",
        ) from error


def nearest(name: str, known: list[str]) -> str:
    """Returns a hint at the nearest name, or at all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"One of: {', '.join(known)}."
