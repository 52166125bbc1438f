"""Names of a package that load when they are first used.

A package that says

    if TYPE_CHECKING:
        from cloudseed.part.module import Thing, old as new
    else:
        __getattr__ = lazily(__name__, {"module": "Thing old=new"})

has `Thing` as if it imported it, but the module loads when somebody asks for the name: who needs
one name does not wait for the libraries of all others. That both say the same is tested.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["homes_of", "lazily"]


def lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package.

    Args:
        package: Its name; it is being imported.
        modules: Module within it -> the names that it gives, apart by blanks; "own=name" where the
            package calls it otherwise.

    Raises:
        AttributeError: From what is returned, if there is no such name.
    """
    homes = homes_of(modules)

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, own = homes[name]
        value = getattr(import_module(f"{package}.{home}"), own)
        # The next look finds it without asking here.
        setattr(sys.modules[package], name, value)
        return value

    return load


def homes_of(modules: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Returns name -> module and the name there, of a table as `lazily` takes it."""
    found = {}
    for module, words in modules.items():
        for word in words.split():
            own, _, name = word.partition("=")
            found[name or own] = (module, own)
    return found
