"""Writes a new adapter that works: a furnace and a balance behind a socket, with a toy robot."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.resources import files
from typing import TYPE_CHECKING

from cloudseed.errors import UsageError
from cloudseed.lab_adapters._store import write_whole

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_adapter"]

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_FILES = {
    "adapter.py.jinja": "{module}.py",
    "robot.py.jinja": "{module}_robot.py",
    "test.py.jinja": "test_{module}.py",
    "check.yaml.jinja": "check.yaml",
    "pyproject.toml.jinja": "pyproject.toml",
}


def write_adapter(name: str, folder: Path) -> list[Path]:
    """Writes the files of a new adapter and returns them.

    Args:
        name: What it is called, such as "furnace" or "tube-furnace".
        folder: A new folder.

    Raises:
        UsageError: If the name cannot be used or the folder holds something.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"An adapter cannot be called {name!r}.",
            hint="Use small letters, digits and single hyphens, beginning with a letter.",
        )
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module == "cloudseed":
        raise UsageError(
            f"Python keeps the name {module!r} for itself.",
            hint=f"Choose another, such as my-{name}.",
        )
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds files already.", hint="Name a new folder with `--out`.")
    import jinja2

    words = {"name": module, "module": module, "kind": module.title().replace("_", "") + "Lab"}
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  Python and YAML, no HTML
        keep_trailing_newline=True,
    )
    written = []
    for source, target in _FILES.items():
        text = files(__name__).joinpath("files", source).read_text(encoding="utf-8")
        path = folder / target.format(module=module)
        write_whole(path, environment.from_string(text).render(words).encode())
        written.append(path)
    return written
