"""What an integrator tells the kit about a lab: its settings, what to make, how long to wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from cloudseed.errors import SpecError
from cloudseed.lab_adapters._settings import LabSettings, read_settings

__all__ = ["CheckSettings", "read_check_file"]

LARGEST = 1_000_000
"""Bytes of the largest file that is read."""


class CheckSettings(LabSettings):
    """What `cloudseed lab check` is to know."""

    config: dict[str, Any] = Field(default_factory=dict, description="The lab's own settings.")
    structures: tuple[Path, ...] = Field(
        default=(),
        description="Structure files that the lab can make; by default three perovskites.",
    )
    properties: tuple[str, ...] = Field(
        default=(), description="What to measure; by default everything the lab declares."
    )
    timeout: float = Field(default=120.0, gt=0, description="Seconds a result may take.")
    clock: float = Field(default=5.0, gt=0, description="Seconds that clocks may differ by.")
    kills: int = Field(default=4, ge=1, le=1000, description="Senders that are killed.")
    stop: bool = Field(
        default=False,
        description="Whether the lab may be brought to rest, which a person must undo.",
    )
    operator: str | None = Field(
        default=None,
        description='"module:function" that plays the lab\'s people; it is called in a thread with'
        " the lab's folder, its settings and a threading.Event that ends it.",
    )


def read_check_file(path: Path | None) -> CheckSettings:
    """Reads a YAML file of `CheckSettings`; `path` in the lab's settings is taken from beside it.

    Raises:
        SpecError: If the file is missing or holds something unknown or wrong.
    """
    if path is None:
        return CheckSettings()
    try:
        if path.stat().st_size > LARGEST:
            raise SpecError(f"{path} is too large.", hint="It should be a page of YAML.")
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(
            f"{path} cannot be read: {' '.join(str(error).split())[:200]}",
            hint="It must be YAML with `config:` and what else the check shall know.",
        ) from error
    if not isinstance(data, dict):
        raise SpecError(f"{path} holds no settings.", hint="Begin with `config:`.")
    base = path.resolve().parent
    settings = read_settings(CheckSettings, data, "check")
    config = {
        key: str(base / Path(value).expanduser()) if key == "path" else value
        for key, value in settings.config.items()
    }
    structures = tuple(base / p.expanduser() for p in settings.structures)
    return settings.model_copy(update={"config": config, "structures": structures})
