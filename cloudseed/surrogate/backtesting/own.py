"""Methods of a user's own, named "module:name", of which nothing is known beforehand."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudseed.errors import CloudseedError, UsageError
from cloudseed.surrogate.protocols import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from cloudseed.surrogate.backtesting.protocols import Rows, Searcher, SearcherFactory
    from cloudseed.surrogate.protocols import Observations

__all__ = ["OwnSearcher", "load_factory", "source_of"]


class OwnSearcher:
    """Asks a method of a user's own; what it raises is an error of that method.

    Args:
        name: "module:name".
        make: Makes it.

    Raises:
        UsageError: If it cannot be made.
    """

    def __init__(self, name: str, make: Callable[[], Searcher]) -> None:
        self._name = name
        with _blamed(name):
            self._searcher = make()

    def next(
        self, available: Rows, pending: Rows, observations: Observations, batch: int, seed: int
    ) -> Choice:
        """Lets it choose.

        Raises:
            UsageError: If it fails, or answers with anything but a `Choice`.
        """
        with _blamed(self._name):
            choice = self._searcher.next(available, pending, observations, batch, seed)
        if not isinstance(choice, Choice):
            raise UsageError(
                f"The method {self._name} answered with a {type(choice).__name__}.",
                hint="`next` returns a cloudseed.surrogate.Choice.",
                method=self._name,
            )
        return choice


def source_of(name: str) -> str:
    """Returns a hash of the module that is named and of the one that a method is written in.

    What those import is not looked at.

    Args:
        name: "module:name" of a method that can be loaded.

    Returns:
        "" where neither has a source.
    """
    module, _, attribute = name.partition(":")
    named = importlib.import_module(module)
    written = sys.modules.get(getattr(getattr(named, attribute), "__module__", module))
    sources = [_source(found) for found in (named, written)]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest() if any(sources) else ""


def _source(module: ModuleType | None) -> str:
    try:
        return "" if module is None else inspect.getsource(module)
    except (OSError, TypeError):
        return ""


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    try:
        yield
    except CloudseedError:
        raise
    except Exception as error:
        raise UsageError(
            f"The method {name} failed with {type(error).__name__}: {error}",
            hint="Mend it, or leave it out of the methods; runs that are finished are kept.",
            method=name,
        ) from error


def load_factory(name: str, known: str) -> SearcherFactory:
    """Imports what makes a method.

    Args:
        name: "module:name".
        known: The methods that need no import, for readers.

    Raises:
        UsageError: If there is none, or its module fails.
    """
    module, _, attribute = name.partition(":")
    with _blamed(name):
        try:
            if not attribute:
                raise ImportError(name)
            factory: SearcherFactory = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"There is no method {name!r}.",
                hint=f"Known are {known}; one of your own is named module:name.",
                method=name,
            ) from error
    return factory
