"""A campaign to start from."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from cloudseed.errors import UsageError
from cloudseed.loop.workspace import write_text

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_starter"]


def write_starter(folder: Path) -> list[Path]:
    """Writes a campaign file and its parent crystals into a new folder.

    Returns:
        The files written.

    Raises:
        UsageError: If the folder already holds a campaign file.
    """
    if (folder / "campaign.yaml").exists():
        raise UsageError(f"{folder / 'campaign.yaml'} already exists.", hint="Name another folder.")
    written = []
    with as_file(files("cloudseed.loop") / "templates" / "starter") as source:
        for path in sorted(p for p in source.rglob("*") if p.suffix in {".yaml", ".cif"}):
            target = folder / path.relative_to(source)
            write_text(target, path.read_text(encoding="utf-8"))
            written.append(target)
    return written
