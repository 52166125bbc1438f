"""The section `recipes` of a lab in a campaign file: what its materials are made from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from cloudseed.lab_adapters.recipes import Rank, Shelf, read_shelf
from cloudseed.loop.safety.limits import Grams  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RecipesSpec", "with_shelves"]


class RecipesSpec(BaseModel):
    """That requests to a lab carry a recipe for solid-state synthesis.

    Attributes:
        shelf: The precursors and gases; None for those that the lab tells of. In a file, the name
            of another file beside it.
        mass: How much of a material is made, g.
        rank: Which route is the best: the cheapest ("cost"), or the most driven ("supply").
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shelf: Shelf | None = None
    mass: Grams = 1.0
    rank: Rank = "cost"


def with_shelves(data: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Returns a campaign file's values with its shelves read from the files that it names.

    So they are part of the campaign, and a file that changes later changes nothing.

    Args:
        data: What the YAML holds, unchecked.
        base: Its folder.

    Raises:
        InputError: If a shelf cannot be read.
    """
    found = dict(data)
    if isinstance(found.get("lab"), dict):
        found["lab"] = _with_shelf(found["lab"], base)
    if isinstance(found.get("labs"), list):
        found["labs"] = [_with_shelf(lab, base) for lab in found["labs"]]
    return found


def _with_shelf(lab: Any, base: Path) -> Any:
    recipes = lab.get("recipes") if isinstance(lab, dict) else None
    if not isinstance(recipes, dict) or not isinstance(recipes.get("shelf"), str):
        return lab
    shelf = read_shelf(base / Path(recipes["shelf"]).expanduser()).model_dump(mode="json")
    return lab | {"recipes": recipes | {"shelf": shelf}}
