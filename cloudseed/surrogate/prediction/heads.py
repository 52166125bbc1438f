"""Heads as files: what was trained on one encoder, to be read with that encoder only.

    heads.safetensors   networks in half precision, distances in single
    heads.json          what each head is, how well it did, and what it may be read with

`heads.json` names the encoder by its id, the tensors by their SHA-256, and itself by a digest. A
folder whose parts do not fit together is refused; nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from cloudseed.errors import EncoderError
from cloudseed.surrogate.prediction.novelty import Novelty
from cloudseed.surrogate.scope import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from cloudseed.surrogate.prediction.ensemble import Ensemble
    from cloudseed.surrogate.prediction.links import Link

__all__ = ["FILES", "Head", "read_heads", "write_heads"]

FILES = ("heads.json", "heads.safetensors")
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Head:
    """What predicts one property from embeddings.

    Attributes:
        property: Its name in `cloudseed.units`.
        link: What the ensemble's numbers mean.
        ensemble: The networks.
        novelty: What the training data look like.
        widening: What standard deviations are multiplied by, so that 95 % of the validation part
            lie within 1.96 of them.
        card: Rows, errors and coverage on the test part, and the seed; JSON values.
    """

    property: str
    link: Link
    ensemble: Ensemble
    novelty: Novelty
    widening: float
    card: Mapping[str, Any]

    def summarise(
        self, features: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Returns values and calibrated standard deviations, n each.

        Args:
            features: Embeddings by the encoder that the head belongs to, n x d.
        """
        import torch

        with torch.inference_mode():
            value, sd = self.link.summarise(self.ensemble(torch.from_numpy(features)))
        return value.double().numpy(), self.widening * sd.double().numpy()


def write_heads(folder: Path, encoder_id: str, heads: Mapping[str, Head]) -> None:
    """Writes heads into a checkpoint's folder, whole or not at all.

    Args:
        folder: The folder of the encoder that they were trained on.
        encoder_id: Its id.
        heads: Property -> head.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    for name, head in heads.items():
        tensors |= {f"{name}.{key}": value for key, value in _tensors(head).items()}
    data = save(tensors, metadata={"format": "pt"})
    told = {
        "format": _FORMAT,
        "encoder": encoder_id,
        "tensors": hashlib.sha256(data).hexdigest(),
        "heads": {name: _card(head) for name, head in heads.items()},
    }
    text = json.dumps(told | {"digest": _digest(told)}, indent=1, sort_keys=True) + "\n"
    for name, content in zip(FILES, (text.encode(), data), strict=True):
        partial = folder / f"{name}.part"
        partial.write_bytes(content)
        partial.replace(folder / name)


def _tensors(head: Head) -> dict[str, Tensor]:
    import torch

    found = {key: value.half() for key, value in head.ensemble.state_dict().items()}
    for name in ("centre", "scale"):
        found[name] = head.ensemble.state_dict()[name]
    found["novelty.centre"] = torch.from_numpy(head.novelty.centre)
    found["novelty.whiten"] = torch.from_numpy(head.novelty.whiten)
    return {key: value.contiguous() for key, value in found.items()}


def _card(head: Head) -> dict[str, Any]:
    return {
        "link": {"kind": head.link.kind, "shift": head.link.shift, "scale": head.link.scale},
        "widening": head.widening,
        "limit": head.novelty.limit,
        "elements": sorted(head.novelty.elements),
        "space_groups": sorted(head.novelty.space_groups),
        "dialects": list(head.novelty.dialects),
        "card": dict(head.card),
    }


def _digest(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def read_heads(folder: Path, encoder_id: str, width: int) -> dict[str, Head]:
    """Reads the heads of a checkpoint.

    Args:
        folder: The encoder's folder.
        encoder_id: The encoder's id.
        width: Length of its embeddings.

    Raises:
        EncoderError: If there are none, they belong to another encoder, or they were changed.
    """
    if not (folder / FILES[0]).exists():
        raise EncoderError(
            f"{folder.name} has no property heads.",
            hint="Train some with scripts/fit_heads.py, or use an encoder that ships with them.",
            path=str(folder),
        )
    try:
        told = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))
        digest = told.pop("digest")
        data = (folder / FILES[1]).read_bytes()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(folder, "cannot be read") from error
    if digest != _digest(told) or told.get("tensors") != hashlib.sha256(data).hexdigest():
        raise _broken(folder, "were changed after they were written, or lack a part")
    if told.get("format") != _FORMAT:
        raise _broken(folder, f"have the format {told.get('format')!r} instead of {_FORMAT}")
    if told.get("encoder") != encoder_id:
        raise EncoderError(
            f"The property heads in {folder.name} were trained on another encoder.",
            hint="Train them again on this one with scripts/fit_heads.py.",
            heads=told.get("encoder"),
            encoder=encoder_id,
        )
    return _rebuilt(folder, told, data, width)


def _rebuilt(folder: Path, told: Mapping[str, Any], data: bytes, width: int) -> dict[str, Head]:
    from safetensors.torch import load

    try:
        tensors: dict[str, dict[str, Tensor]] = {}
        for key, value in load(data).items():
            name, _, rest = key.partition(".")
            tensors.setdefault(name, {})[rest] = value.float()
        return {
            name: _head(name, card, tensors[name], width) for name, card in told["heads"].items()
        }
    except Exception as error:  # safetensors and torch raise their own kinds
        raise _broken(folder, "do not fit the encoder") from error


def _head(name: str, card: Mapping[str, Any], tensors: dict[str, Tensor], width: int) -> Head:
    import torch

    from cloudseed.surrogate.prediction.ensemble import Ensemble
    from cloudseed.surrogate.prediction.links import Link, LinkKind

    kind = card["link"]["kind"]
    known = Novelty(
        centre=tensors.pop("novelty.centre").numpy(),
        whiten=tensors.pop("novelty.whiten").numpy(),
        limit=float(card["limit"]),
        elements=frozenset(card["elements"]),
        space_groups=frozenset(card["space_groups"]),
        dialects=tuple(card["dialects"]),
    )
    link = Link(cast("LinkKind", kind), float(card["link"]["shift"]), float(card["link"]["scale"]))
    members, _, first = tensors["weights.0"].shape
    second = int(tensors["weights.1"].shape[2])
    ensemble = Ensemble(width, link.outputs, members, (first, second))
    ensemble.load_state_dict(tensors)
    fit = kind in get_args(LinkKind) and set(known.dialects) <= set(DIALECTS)
    finite = all(bool(torch.isfinite(value).all()) for value in tensors.values())
    if not (fit and finite and np.isfinite(known.whiten).all() and len(known.centre) == width):
        raise ValueError(name)
    ensemble.eval().requires_grad_(requires_grad=False)
    return Head(name, link, ensemble, known, float(card["widening"]), card["card"])


def _broken(folder: Path, why: str) -> EncoderError:
    return EncoderError(
        f"The property heads in {folder.name} {why}.",
        hint="Fetch the checkpoint again, or train the heads again with scripts/fit_heads.py.",
        path=str(folder),
    )
