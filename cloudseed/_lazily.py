"""Names of a package that load when they are first used.

A package that says

    if TYPE_CHECKING:
        from cloudseed.part.module import Thing
    else:
        __getattr__ = lazily(__name__)

has `Thing` as if it imported it, but the module loads when somebody asks for the name: who needs
one name does not wait for the libraries of all others.
"""

from __future__ import annotations

import ast
import inspect
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["lazily"]


def lazily(package: str) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a package for what it imports under `if TYPE_CHECKING`.

    Args:
        package: Name of the package, which is being imported.

    Raises:
        AttributeError: From what is returned, if the package imports no such name.
    """
    module = sys.modules[package]
    homes = {
        alias.asname or alias.name: (str(node.module), alias.name)
        for block in ast.parse(inspect.getsource(module)).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, own = homes[name]
        value = getattr(import_module(home), own)
        # The next look finds it without asking here.
        setattr(module, name, value)
        return value

    return load
