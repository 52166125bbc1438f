"""The numbers of a training, checked; a misspelt key names the nearest one."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cloudseed.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FINETUNING", "PUBLISHED", "Recipe", "Shape", "read_recipe"]


class Shape(BaseModel):
    """The shape of an encoder.

    Attributes:
        layers: Transformer layers.
        hidden: Length of an embedding.
        heads: Attention heads; they divide `hidden`.
        intermediate: Width of the feed-forward part.
        limit: Most tokens of a string, [CLS] and [SEP] among them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = Field(default=4, ge=1)
    hidden: int = Field(default=192, ge=8)
    heads: int = Field(default=6, ge=1)
    intermediate: int = Field(default=384, ge=8)
    limit: int = Field(default=64, ge=16, le=4096)

    @model_validator(mode="after")
    def _divides(self) -> Shape:
        if self.hidden % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a hidden size of {self.hidden}")
        return self

    def parameters(self, vocabulary: int) -> int:
        """Returns the number of parameters of the encoder, without heads."""
        layer = 4 * self.hidden * (self.hidden + 1) + 4 * self.hidden
        layer += 2 * self.hidden * self.intermediate + self.hidden + self.intermediate
        tables = (vocabulary + self.limit + 1) * self.hidden + 2 * self.hidden
        return self.layers * layer + tables


PUBLISHED = Shape(layers=12, hidden=768, heads=12, intermediate=3072)
"""The published shape: BERT base (Xu, Zhu & Viswanathan, Nat. Commun. 17, 4074 (2026))."""


class Recipe(BaseModel):
    """How an encoder is trained.

    Attributes:
        shape: Shape of the encoder; fine-tuning takes that of the checkpoint.
        steps: Steps in all; the learning rate falls to a fiftieth along half a cosine.
        batch: Strings in a step of one process.
        rate: Peak learning rate.
        warmup: Steps over which the learning rate rises.
        weight_decay: Decay of matrices; vectors do not decay.
        clip: Largest norm of the gradient.
        masked: Share of the tokens hidden in the strings that are masked.
        chemistry: Whether heads on [CLS] learn what follows from whole strings. Without them masked
            tokens alone teach, as in BERT, and an embedding is the mean over the tokens, unless
            labels teach [CLS].
        labels: Weight of the labels' losses beside the rest; only fine-tuning has labels.
        rehearsal: Share of fine-tuning's batches that come from pre-training's strings.
        dropout: Share of activations dropped, in fine-tuning a guard against learning by heart.
        validate_every: Steps between validations, each of which keeps a checkpoint.
        patience: Validations without a better one after which training stops; 0 for never.
        precision: "auto" takes bfloat16 on a GPU and single precision elsewhere.
        seed: Seed of weights, order and masks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: Shape = Shape()
    steps: int = Field(default=6_000, ge=1)
    batch: int = Field(default=128, ge=2)
    rate: float = Field(default=1e-3, gt=0, lt=1)
    warmup: int = Field(default=300, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    masked: float = Field(default=0.15, gt=0, lt=1)
    chemistry: bool = True
    labels: float = Field(default=5.0, ge=0)
    rehearsal: float = Field(default=0.5, ge=0, le=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    validate_every: int = Field(default=500, ge=1)
    patience: int = Field(default=0, ge=0)
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    seed: int = Field(default=0, ge=0)

    def rate_at(self, step: int) -> float:
        """Returns the learning rate of a step."""
        share = min(step / self.steps, 1.0)
        decay = 0.02 + 0.49 * (1 + math.cos(math.pi * share))
        return self.rate * min(1.0, (step + 1) / max(self.warmup, 1)) * decay


FINETUNING: Mapping[str, Any] = {
    "steps": 2_000,
    "rate": 5e-4,
    "warmup": 100,
    "dropout": 0.1,
    "validate_every": 200,
}
"""What fine-tuning does otherwise than pre-training, unless told."""


def read_recipe(path: Path | None, base: Mapping[str, Any] | None = None, **changes: Any) -> Recipe:
    """Reads a recipe from YAML, with some values given beside it.

    Args:
        path: A YAML file with keys of `Recipe`; None for the defaults.
        base: Defaults that the file overrides, for instance `FINETUNING`.
        changes: Values that override the file; those that are None do not. Keys of `Shape` go
            into `shape`.

    Raises:
        SpecError: If the file cannot be read, a key is unknown or a value is impossible.
    """
    import yaml

    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SpecError(
                f"{path} cannot be read as a recipe.", hint="It is YAML with keys such as `steps`."
            ) from error
    if not isinstance(data, dict) or not isinstance(data.get("shape", {}), dict):
        raise SpecError("A recipe is a mapping of keys to values.", hint="For instance steps: 6000")
    given = {key: value for key, value in changes.items() if value is not None}
    shape = {key: given.pop(key) for key in list(given) if key in Shape.model_fields}
    if shape:
        given["shape"] = data.get("shape", {}) | shape
    return _validated({**(base or {}), **data, **given})


def _validated(data: Mapping[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            model = Shape if key.startswith("shape.") else Recipe
            known = sorted(model.model_fields)
            near = difflib.get_close_matches(key.rpartition(".")[2], known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known)}."
            raise SpecError(f"A recipe has no key {key!r}.", hint=hint, key=key) from error
        raise SpecError(
            f"The recipe cannot use its {key or 'values'}: {first['msg']}.",
            hint=f"It is {first['input']!r}.",
            key=key,
        ) from error
