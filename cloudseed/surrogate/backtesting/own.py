"""Methods of a user's own, named "module:name", of which nothing is known beforehand."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudseed.errors import CloudseedError, UsageError
from cloudseed.surrogate.protocols import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudseed.surrogate.backtesting.protocols import Rows, Searcher, SearcherFactory
    from cloudseed.surrogate.protocols import Observations

__all__ = ["OwnSearcher", "load_factory"]


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
