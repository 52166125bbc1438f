"""Labs by name: the entry points of the group `cloudseed.lab_adapters`."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from cloudseed.errors import CloudseedError, LabError
from cloudseed.lab_adapters._points import broken, named, names_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudseed.lab_adapters.protocols import LabAdapter

__all__ = ["available_labs", "lab_class", "listed_labs", "load_lab"]

GROUP = "cloudseed.lab_adapters"
_WHAT = "lab adapter"


def available_labs() -> tuple[str, ...]:
    """Returns the names of the installed lab adapters, sorted."""
    return tuple(sorted(names_in(GROUP)))


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
        raise broken(point, error, what=_WHAT) from error
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
        raise broken(point, error, what=_WHAT) from error


def _point(adapter: str, *, by_path: bool) -> EntryPoint:
    known = available_labs()
    if by_path and ":" in adapter and adapter not in known:
        return EntryPoint(adapter, adapter, GROUP)
    return named(GROUP, adapter, what=_WHAT, known=known)


def _checked(lab: Any, adapter: str) -> LabAdapter:
    from cloudseed.lab_adapters.protocols import LabAdapter

    if not isinstance(lab, LabAdapter):
        raise LabError(
            f"The lab adapter {adapter!r} lacks a method that every lab must have.",
            hint="See cloudseed.lab_adapters.protocols.LabAdapter.",
            adapter=adapter,
        )
    return lab
