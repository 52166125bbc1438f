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
    parameters = inspect.signature(maker).parameters
    known = list(parameters)
    for option, value in options.items():
        if option not in known:
            raise UsageError(
                f"The {kind} {name!r} has no option {option!r}.",
                hint=nearest(option, known) if known else "It has none.",
                option=option,
            )
        wanted, fits = _KINDS.get(_annotation(parameters[option]), ("", _anything))
        if not fits(value):
            raise UsageError(
                f"The option {option!r} of the {kind} {name!r} cannot be {value!r}.",
                hint=f"Give {wanted}.",
                option=option,
            )
    try:
        return maker(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"The {kind} {name!r} cannot be made of {dict(options)}: {error}.",
            hint=f"Its options are {', '.join(known)}." if known else "It has no options.",
        ) from error


def _annotation(parameter: inspect.Parameter) -> str:
    kind = parameter.annotation
    return kind if isinstance(kind, str) else str(getattr(kind, "__name__", kind))


def _anything(value: object) -> bool:  # noqa: ARG001  the maker itself will tell
    return True


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_KINDS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "int": ("a whole number", lambda value: type(value) is int),
    "float": ("a number", _is_number),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "str": ("a text", lambda value: isinstance(value, str)),
}
"""Annotation -> what it asks of a value, for people and for programs."""


def nearest(name: str, known: list[str]) -> str:
    """Returns a hint at the nearest name, or at all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"One of: {', '.join(known)}."
