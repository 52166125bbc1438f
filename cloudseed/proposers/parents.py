"""Parents from files, folders and patterns."""

from __future__ import annotations

import glob
import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from cloudseed.crystal import SYMPREC, Crystal, read_crystals
from cloudseed.errors import InputError, StructureError, UsageError
from cloudseed.proposers.protocols import Parent

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["load_parents"]

_LOGGER = logging.getLogger(__name__)
_SUFFIXES = frozenset({".cif", ".mcif", ".vasp", ".poscar", ".xyz", ".extxyz"})


def load_parents(
    sources: Iterable[str | Path], *, symprec: float = SYMPREC, workers: int = 1
) -> tuple[Parent, ...]:
    """Reads the crystals to start from.

    A parent is called after its file, with the folder where two files have the same name. Files
    that hold the same crystal, by its key, become one parent whose source names them all.

    Args:
        sources: CIF, POSCAR or extended XYZ files, folders of them, or patterns such as
            "parents/*.cif"; of a folder and a pattern the files are taken in alphabetical order.
        symprec: Tolerance of the symmetry search, in angstrom.
        workers: Processes that parse at the same time.

    Raises:
        UsageError: If no file is named or found.
        InputError: If a file is missing or cannot be used; names the first and counts the others.
    """
    asked = [sources] if isinstance(sources, str | Path) else list(sources)
    if not asked:
        raise UsageError(
            "No parents are given.", hint="Give files, a folder or a pattern such as parents/*.cif."
        )
    paths = list(dict.fromkeys(path for source in asked for path in _expanded(source)))
    crystals: list[Crystal] = []
    errors: list[InputError] = []
    for result in read_crystals(paths, symprec=symprec, workers=workers):
        if isinstance(result, InputError):
            errors.append(result)
        else:
            crystals.append(result)
    if errors:
        raise _first_of(errors)
    return _merged(_names(paths), paths, crystals)


def _expanded(source: str | Path) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.is_file() and _is_structure(p))
        if not found:
            raise UsageError(
                f"The folder {path} holds no structure files.",
                hint="CIF, POSCAR, .vasp and .extxyz files are read; folders inside are not.",
                path=str(path),
            )
        return found
    if not path.exists() and glob.has_magic(str(path)):
        found = sorted(Path(p) for p in glob.glob(str(path), recursive=True))  # noqa: PTH207
        if not found:
            raise UsageError(
                f"No file matches {path}.",
                hint="Check the pattern; it is relative to the folder you are in.",
                path=str(path),
            )
        return found
    return [path]


def _is_structure(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES or path.name.upper().startswith(("POSCAR", "CONTCAR"))


def _first_of(errors: list[InputError]) -> InputError:
    first = errors[0]
    if len(errors) == 1:
        return first
    others = len(errors) - 1
    return type(first)(
        f"{first.message} {others} more {'file' if others == 1 else 'files'} cannot be used.",
        hint=first.hint,
        **first.data,
        others=[error.message for error in errors[1:]],
    )


def _names(paths: list[Path]) -> list[str]:
    """Returns the shortest ends of the paths, without suffix, that tell them apart."""
    stems = [path.with_suffix("") if _is_suffixed(path) else path for path in paths]
    names = [stem.name for stem in stems]
    for depth in range(2, max(len(stem.parts) for stem in stems) + 1):
        counts = Counter(names)
        names = [
            "/".join(stem.parts[-depth:]) if counts[name] > 1 else name
            for name, stem in zip(names, stems, strict=True)
        ]
    counts = Counter(names)
    return [
        str(path) if counts[name] > 1 else name for name, path in zip(names, paths, strict=True)
    ]


def _is_suffixed(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES


def _merged(names: list[str], paths: list[Path], crystals: list[Crystal]) -> tuple[Parent, ...]:
    parents: dict[str, Parent] = {}
    for name, path, crystal in zip(names, paths, crystals, strict=True):
        if len(crystal.composition) == 0:
            raise StructureError(f"{path} holds no atoms.", hint="Check that it is complete.")
        first = parents.get(crystal.key)
        if first is None:
            parents[crystal.key] = Parent(name, crystal, str(path))
            continue
        _LOGGER.warning(
            "%s and %s hold the same crystal; one parent is made of them.",
            first.source,
            path,
            extra={"key": crystal.key},
        )
        parents[crystal.key] = Parent(first.name, first.crystal, f"{first.source}; {path}")
    return tuple(parents.values())
