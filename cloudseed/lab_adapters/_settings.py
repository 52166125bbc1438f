"""Settings of labs: strict, and helpful about what is misspelt."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cloudseed.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LabSettings", "read_settings"]


class LabSettings(BaseModel):
    """The base of every lab's settings: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Settings = TypeVar("Settings", bound=LabSettings)


def read_settings(kind: type[Settings], config: Mapping[str, object], adapter: str) -> Settings:
    """Checks a lab's settings.

    Raises:
        SpecError: If a key is unknown or a value is wrong; the hint names the nearest key.
    """
    try:
        return kind.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise SpecError(
                f"The lab {adapter!r} has no setting {key!r}.",
                hint=_nearest(key, list(kind.model_fields)),
                key=key,
            ) from None
        if first["type"] == "missing":
            raise SpecError(
                f"The lab {adapter!r} needs the setting {key!r}.",
                hint=_describe(kind, key),
                key=key,
            ) from None
        where = f" {key!r}" if key else ""
        raise SpecError(
            f"The lab {adapter!r} cannot use its setting{where}: {first['msg']}.",
            hint=_describe(kind, key.split(".")[0]),
            key=key,
        ) from None


def _nearest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(sorted(known))}."


def _describe(kind: type[LabSettings], key: str) -> str:
    field = kind.model_fields.get(key)
    return (field.description or "") if field is not None else ""
