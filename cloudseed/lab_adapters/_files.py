"""Settings in YAML, and the files that they name: relative ones lie beside the YAML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from cloudseed.errors import CloudseedError, SpecError
from cloudseed.lab_adapters._settings import LabSettings
from cloudseed.lab_adapters.registry import lab_class

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["beside", "read_yaml", "settings_beside"]

LARGEST = 1_000_000
"""Bytes of the largest file of settings that is read."""


def read_yaml(path: Path, begin: str) -> dict[str, Any]:
    """Reads a file of settings.

    Args:
        path: The file.
        begin: What it begins with, for hints.

    Raises:
        SpecError: If it is missing, too large, or no YAML mapping.
    """
    import yaml

    try:
        if path.stat().st_size > LARGEST:
            raise SpecError(f"{path} is too large.", hint="It should be a page of YAML.")
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(
            f"{path} cannot be read: {' '.join(str(error).split())[:200]}",
            hint=f"It must be YAML that begins with `{begin}`.",
        ) from error
    if not isinstance(data, dict):
        raise SpecError(f"{path} holds no settings.", hint=f"Begin with `{begin}`.")
    return data


def settings_beside(
    adapter: str, config: Mapping[str, Any], base: Path, *, by_path: bool = False
) -> dict[str, Any]:
    """Returns a lab's settings with its files taken from beside the one that names them.

    Which settings are files is told by the types in the lab's `settings_type`; of a lab without
    one, or that cannot be loaded, it is `path` alone. What is no file name stays for the lab to
    refuse.

    Args:
        adapter: The lab's adapter.
        config: Its own settings.
        base: The folder of the file that holds them.
        by_path: Whether `adapter` may also be "module:Class".
    """
    if not any(isinstance(value, str | list | dict) for value in config.values()):
        return dict(config)
    try:
        kind = getattr(lab_class(adapter, by_path=by_path), "settings_type", None)
    except CloudseedError:
        kind = None
    if kind is None:
        return {k: _placed(v, base) if k == "path" else v for k, v in config.items()}
    found = beside(kind, config, base)
    inner = found.get("config")
    if "lab" in kind.model_fields and isinstance(inner, dict):
        found["config"] = settings_beside(str(found.get("lab")), inner, base)
    return found


def beside(kind: type[LabSettings], data: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Returns unchecked settings with their files taken from a folder, also in inner settings."""
    found = dict(data)
    for name, field in kind.model_fields.items():
        if name not in found:
            continue
        types = (field.annotation, *get_args(field.annotation))
        if Path in types:
            found[name] = _placed(found[name], base)
        for inner in types:
            if isinstance(inner, type) and issubclass(inner, LabSettings):
                found[name] = _within(inner, found[name], base)
    return found


def _within(kind: type[LabSettings], value: Any, base: Path) -> Any:
    if isinstance(value, list):
        return [_within(kind, each, base) for each in value]
    return beside(kind, value, base) if isinstance(value, dict) else value


def _placed(value: Any, base: Path) -> Any:
    if isinstance(value, list):
        return [_placed(each, base) for each in value]
    return str(base / Path(value).expanduser()) if isinstance(value, str) else value
