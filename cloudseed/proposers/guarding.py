"""Errors of plug-ins, mapped where they are called: none ends a run without saying whose it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudseed.errors import CloudseedError, PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["guarded"]


@contextmanager
def guarded(kind: str, name: str) -> Iterator[None]:
    """Maps whatever a proposer or filter raises.

    Args:
        kind: "proposer" or "filter".
        name: What it is called.

    Raises:
        PluginError: In place of any error that is not cloudseed's own.
    """
    try:
        yield
    except CloudseedError:
        raise
    except Exception as error:  # a plug-in raises what it likes
        said = next(iter(str(error).strip().splitlines()), "")[:200].rstrip(".")
        why = f"{type(error).__name__}: {said}" if said else type(error).__name__
        raise PluginError(
            f"The {kind} {name!r} failed ({why}).",
            hint=f"Leave {name!r} out, or show this to whoever wrote it.",
            kind=kind,
            name=name,
        ) from error
