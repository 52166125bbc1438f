"""Reading a campaign file: YAML in, a checked spec with whole paths out."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import ValidationError

from cloudseed.errors import SpecError
from cloudseed.lab_adapters import settings_beside
from cloudseed.loop.shelves import with_shelves
from cloudseed.loop.spec.campaign import PARENTS_OPTIONAL, CampaignSpec
from cloudseed.loop.spec.candidates import FilterChoice, ProposerChoice
from cloudseed.loop.spec.labs import LabSpec
from cloudseed.proposers import is_path

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["load_spec", "validate_spec"]

_LARGEST_FILE = 1_000_000
_PATHS = frozenset({"path", "list", "entries"})
_LISTS: Mapping[str, Any] = {
    "proposers": ProposerChoice,
    "filters": FilterChoice,
    "labs": LabSpec,
}
_Named = TypeVar("_Named", ProposerChoice, FilterChoice)


def load_spec(path: Path, *, parents_optional: bool = False) -> CampaignSpec:
    """Reads a campaign file and resolves its paths.

    Args:
        path: The file.
        parents_optional: Whether it may do without parents, as one that is only replayed.

    Raises:
        SpecError: If the file is missing, is no YAML mapping, or holds an unknown, missing or
            impossible value; the hint names the nearest known key.
        ObjectiveError: If the objective or a constraint cannot be parsed.
        InputError: If a shelf cannot be read.
    """
    data = with_shelves(_read_yaml(path), path.resolve().parent)
    spec = validate_spec(data, str(path), parents_optional=parents_optional)
    base = path.resolve().parent
    parents = tuple(_resolved(base, p) for p in spec.parents)
    lab = _lab_with_path(base, spec.lab)
    labs = tuple(_lab_with_path(base, each) for each in spec.labs)
    proposers = tuple(_with_paths(base, choice) for choice in spec.proposers)
    filters = tuple(_with_paths(base, choice) for choice in spec.filters)
    return spec.model_copy(
        update={
            "parents": parents,
            "lab": lab,
            "labs": labs,
            "proposers": proposers,
            "filters": filters,
        }
    )


def validate_spec(
    data: Mapping[str, Any], source: str, *, parents_optional: bool = False
) -> CampaignSpec:
    """Checks the values of a campaign file.

    Args:
        data: What the YAML holds.
        source: Where it comes from, for messages.
        parents_optional: Whether parents may be missing.
    """
    try:
        return CampaignSpec.model_validate(data, context={PARENTS_OPTIONAL: parents_optional})
    except ValidationError as error:
        raise _spec_error(error, source) from error


def _lab_with_path(base: Path, lab: LabSpec) -> LabSpec:
    return lab.model_copy(update={"config": settings_beside(lab.adapter, lab.config, base)})


def _resolved(base: Path, source: str) -> str:
    return str(base / Path(source).expanduser()) if is_path(source) else source


def _with_paths(base: Path, choice: _Named) -> _Named:
    """Makes the paths among a proposer's or filter's options relative to the campaign file."""
    options = {
        key: _resolved(base, value) if key in _PATHS and isinstance(value, str) else value
        for key, value in choice.options.items()
    }
    return choice.model_copy(update={"options": options})


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise SpecError(f"{path} is too large for a campaign file.")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SpecError(
            f"There is no campaign file {path}.", hint="`cloudseed init` writes one to start from."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read as a campaign file.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise SpecError(f"{path} is no valid YAML{where}.") from error
    if not isinstance(data, dict):
        raise SpecError(f"{path} holds no mapping of keys to values.", hint="See `cloudseed init`.")
    return data


def _spec_error(error: ValidationError, source: str) -> SpecError:
    """Turns pydantic's first complaint into one sentence and a hint; unknown keys come first.

    A misspelt key is also a missing one, and naming it helps more.
    """
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    where = ".".join(location)
    if first["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known)}."
        return SpecError(f"{source}: the key {where!r} is unknown.", hint=hint, key=where)
    if first["type"] == "missing":
        return SpecError(
            f"{source}: the key {where!r} is missing.", hint="See `cloudseed init`.", key=where
        )
    message = first["msg"].removeprefix("Value error, ")
    return SpecError(
        f"{source}: {where or 'the file'}: {message[0].lower()}{message[1:]}.",
        hint=f"It is {first['input']!r}.",
        key=where,
    )


def _known_keys(location: list[str]) -> list[str]:
    model: Any = CampaignSpec
    for part in location:
        model = _LISTS.get(part) or (
            model if part.isdigit() else model.model_fields[part].annotation
        )
        # A section that may be left out is written as one or None.
        model = next((m for m in get_args(model) if hasattr(m, "model_fields")), model)
    return sorted(model.model_fields)
