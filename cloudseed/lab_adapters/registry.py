"""Labs by name: the entry points of the group `cloudseed.lab_adapters`."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from cloudseed.errors import CloudseedError, LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudseed.lab_adapters.protocols import LabAdapter

__all__ = ["available_labs", "lab_class", "listed_labs", "load_lab"]

GROUP = "cloudseed.lab_adapters"


def available_labs() -> tuple[str, ...]:
    """Returns the names of the installed lab adapters, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def listed_labs() -> list[dict[str, str]]:
    """Returns the name, package and class of each installed adapter, without loading any."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return [
        {
            "name": point.name,
            "package": "" if point.dist is None else f"{point.dist.name} {point.dist.version}",
            "class": point.value,
        }
        for point in points
    ]


def load_lab(
    adapter: str, config: Mapping[str, Any], workdir: Path, *, by_path: bool = False
) -> LabAdapter:
    """Opens a lab.

    Args:
        adapter: Its name; the class behind it has `from_config(config, workdir)`.
        config: The lab's own settings.
        workdir: A folder that the lab may use for whatever must survive a crash.
        by_path: Whether `adapter` may also be "module:Class", for one that is not installed yet.

    Raises:
        UsageError: If no adapter has this name, or its settings are wrong (`SpecError`).
        LabError: If the adapter is broken or does not keep the contract.
    """
    point = _point(adapter, by_path=by_path)
    try:
        lab = point.load().from_config(config, workdir)
    except CloudseedError:
        raise
    except Exception as error:
        raise _broken(point, error) from error
    return _checked(lab, adapter)


def lab_class(adapter: str, *, by_path: bool = False) -> Any:
    """Returns the class behind an adapter.

    Args:
        adapter: Its name.
        by_path: Whether it may also be "module:Class".

    Raises:
        UsageError: If no adapter has this name.
        LabError: If it cannot be loaded.
    """
    point = _point(adapter, by_path=by_path)
    try:
        return point.load()
    except Exception as error:
        raise _broken(point, error) from error


def _point(adapter: str, *, by_path: bool) -> EntryPoint:
    points = list(entry_points(group=GROUP, name=adapter))
    if by_path and ":" in adapter:
        points.append(EntryPoint(adapter, adapter, GROUP))
    if not points:
        known = available_labs()
        near = difflib.get_close_matches(adapter, known, n=1)
        raise UsageError(
            f"There is no lab adapter {adapter!r}.",
            hint=f"Did you mean {near[0]!r}?" if near else f"Installed: {', '.join(known)}.",
            adapter=adapter,
        )
    return points[0]


def _broken(point: EntryPoint, error: Exception) -> LabError:
    return LabError(
        f"The lab adapter {point.name!r} cannot be loaded: {type(error).__name__}: {error}",
        hint=f"It is {point.value}; ask its author.",
        adapter=point.name,
    )


def _checked(lab: Any, adapter: str) -> LabAdapter:
    from cloudseed.lab_adapters.protocols import LabAdapter

    if not isinstance(lab, LabAdapter):
        raise LabError(
            f"The lab adapter {adapter!r} lacks a method that every lab must have.",
            hint="See cloudseed.lab_adapters.protocols.LabAdapter.",
            adapter=adapter,
        )
    return lab
