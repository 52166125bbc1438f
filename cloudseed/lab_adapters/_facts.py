"""What an owner tells of a lab that does not describe itself, and how a request fills a recipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cloudseed.lab_adapters._settings import LabSettings

if TYPE_CHECKING:
    from cloudseed.lab_adapters.protocols import ExperimentRequest

__all__ = ["RemoteSettings", "filled", "number_at"]


class RemoteSettings(LabSettings):
    """What an owner tells of a lab that does not describe itself."""

    name: str = Field(default="lab", min_length=1, description="What the lab is called.")
    properties: dict[str, str] = Field(
        min_length=1, description="What it measures: property -> unit."
    )
    elements: tuple[str, ...] | None = Field(
        default=None, description="Elements that it can handle; by default any."
    )
    largest_cell: int | None = Field(
        default=None, ge=1, description="Most atoms in a cell that it takes; by default any."
    )
    concurrency: int = Field(default=1, ge=1, description="Open experiments at the same time.")
    hours: float | None = Field(
        default=None, gt=0, description="Hours an experiment usually takes, if known."
    )
    simulated: bool = Field(default=False, description="Whether it only rehearses.")
    timeout: float = Field(default=30.0, gt=0, description="Seconds an answer may take.")
    settle: float = Field(
        default=5.0,
        ge=0,
        description="Seconds after which a send that got no answer is surely in the lab, or lost.",
    )


def filled(value: Any, request: ExperimentRequest) -> Any:
    """Returns plain values with `{formula}`, `{key}`, `{cif}` and the like filled in.

    `{properties}` are joined by commas; `{recipe}` is JSON, and empty where the campaign compiles
    none.
    """
    if isinstance(value, dict):
        return {name: filled(part, request) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [filled(part, request) for part in value]
    if not isinstance(value, str) or "{" not in value:
        return value
    words = {
        "formula": request.label,
        "key": request.key,
        "properties": ",".join(request.properties),
        "recipe": "" if request.recipe is None else json.dumps(request.recipe),
    }
    for name, word in words.items():
        value = value.replace("{" + name + "}", word)
    return value.replace("{cif}", request.cell.to_cif()) if "{cif}" in value else value


def number_at(data: Any, path: str) -> float | None:
    """Returns the number at a dotted path, or None where there is none."""
    for part in path.split("."):
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        else:
            return None
    return float(data) if isinstance(data, int | float) and not isinstance(data, bool) else None
