"""What an integrator tells the kit about a lab: its settings, what to make, how long to wait."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import Any

from pydantic import Field

from cloudseed.lab_adapters._files import beside, read_yaml, settings_beside
from cloudseed.lab_adapters._settings import LabSettings, read_settings

__all__ = ["CheckSettings", "read_check_file"]


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


def read_check_file(path: Path | None, adapter: str) -> CheckSettings:
    """Reads a YAML file of `CheckSettings`; files that it names are taken from beside it.

    Args:
        path: The file; None for no settings.
        adapter: The lab whose settings are under `config:`.

    Raises:
        SpecError: If the file is missing or holds something unknown or wrong.
    """
    if path is None:
        return CheckSettings()
    base = path.resolve().parent
    data = beside(CheckSettings, read_yaml(path, "config:"), base)
    settings = read_settings(CheckSettings, data, "check")
    config = settings_beside(adapter, settings.config, base, by_path=True)
    return settings.model_copy(update={"config": config})
