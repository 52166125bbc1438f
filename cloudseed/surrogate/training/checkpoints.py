"""What a training leaves on disk: the encoder in the Hugging Face layout, and its own state.

Both are safetensors and JSON. The state is written whole or not at all.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import torch

from cloudseed.errors import EncoderError
from cloudseed.surrogate.checkpoint import open_checkpoint, seal
from cloudseed.surrogate.tokenizer import SPECIAL, WHOLE, whole_vocabulary
from cloudseed.surrogate.training.recipe import Shape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from cloudseed.surrogate.encoder import Pooling
    from cloudseed.surrogate.training.learner import Learner

__all__ = [
    "DIALECT",
    "keep_state",
    "load_weights",
    "save_encoder",
    "shape_of",
    "take_up",
    "write_facts",
]

DIALECT = "canonical"
"""The dialect that a trained encoder declares: it ties elements to sites."""

STATE = "training.safetensors"


def save_encoder(
    learner: Learner, folder: Path, facts: Mapping[str, Any], pooling: Pooling = "cls"
) -> None:
    """Writes the encoder without its heads, in half precision, in the Hugging Face layout.

    Args:
        learner: The encoder with its heads.
        folder: Receives `model.safetensors`, `config.json`, the tokenizer's files and
            `training.json`.
        facts: What `training.json` tells of the training.
        pooling: How tokens become an embedding, which the checkpoint declares.
    """
    from safetensors.torch import save_file

    weights = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in learner.bert.state_dict().items()
        if not name.endswith("position_ids")
    }
    config = learner.config.to_dict()
    config |= {"hidden_dropout_prob": 0.0, "cloudseed": {"dialect": DIALECT, "pooling": pooling}}
    # Without a SHA-256 until the weights are there, so that a kill in between leaves no mismatch.
    _write(folder / "config.json", {"architectures": ["BertModel"]} | config)
    partial = folder / "model.part"
    save_file(weights, partial, metadata={"format": "pt"})
    partial.replace(folder / "model.safetensors")
    names = {f"{token[1:-1].lower()}_token": token for token in SPECIAL}
    _write(folder / "special_tokens_map.json", names)
    limit = learner.config.max_position_embeddings
    _write(
        folder / "tokenizer_config.json",
        names | {"tokenizer_class": WHOLE, "model_max_length": limit},
    )
    _put(folder / "vocab.txt", "\n".join(whole_vocabulary()) + "\n")
    write_facts(folder, facts)
    seal(folder)


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes `training.json`: what a checkpoint tells of its training."""
    _write(folder / "training.json", facts)


def _write(path: Path, content: object) -> None:
    _put(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def _put(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def keep_state(
    folder: Path,
    learner: Learner,
    optimizer: Any,
    *,
    progress: Mapping[str, Any],
    binding: Mapping[str, Any],
) -> None:
    """Writes all that a later process needs to go on.

    Args:
        folder: Receives `training.safetensors`.
        learner: The encoder with its heads.
        optimizer: Its optimiser.
        progress: How far the training has come.
        binding: What a training that goes on must share: recipe, data, labels, processes.
    """
    from safetensors.torch import save_file

    tensors = {f"learner.{name}": t.cpu().clone() for name, t in learner.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": t.cpu().clone() for slot, t in slots.items()}
    partial = folder / "training.part"
    save_file(
        tensors,
        partial,
        metadata={"progress": json.dumps(dict(progress)), "binding": _told(binding)},
    )
    with partial.open("rb") as handle:
        os.fsync(handle.fileno())
    partial.replace(folder / STATE)


def _told(binding: Mapping[str, Any]) -> str:
    return json.dumps(dict(binding), sort_keys=True, default=str)


def take_up(
    folder: Path, learner: Learner, optimizer: torch.optim.Optimizer, binding: Mapping[str, Any]
) -> dict[str, Any]:
    """Takes up what `keep_state` wrote; returns how far that training had come.

    Raises:
        EncoderError: If it is broken, or was written by another training; the hint names what
            differs.
    """
    from safetensors import safe_open

    path = folder / STATE
    if not path.exists():
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            progress = dict(json.loads(file.metadata()["progress"]))
            before = dict(json.loads(file.metadata()["binding"]))
        now = json.loads(_told(binding))
        if other := sorted(
            key for key in now.keys() | before.keys() if now.get(key) != before.get(key)
        ):
            raise EncoderError(
                f"{folder} holds a training with other {other[0].replace('_', ' ')}.",
                hint=f"It had {before.get(other[0])}. Name another folder, or delete this one.",
                path=str(path),
            )
        learner.load_state_dict(_under(tensors, "learner."))
    except EncoderError:
        raise
    except Exception as error:
        raise EncoderError(
            f"{path} cannot be taken up.",
            hint="It is broken, or was written with another recipe; name another folder.",
            path=str(path),
        ) from error
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, "optimizer.").items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
    return progress


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def shape_of(folder: Path) -> Shape:
    """Reads the shape of a checkpoint.

    Raises:
        EncoderError: If it has no readable configuration, or another vocabulary than this
            project's, whose tokens the targets are read from.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tokens = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        shape = Shape(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            heads=config["num_attention_heads"],
            intermediate=config["intermediate_size"],
            limit=config["max_position_embeddings"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EncoderError(
            f"{folder} holds no checkpoint that can be fine-tuned.",
            hint="Give a folder that `cloudseed encoder pretrain` made, or a shipped name.",
            path=str(folder),
        ) from error
    if tokens != whole_vocabulary():
        raise EncoderError(
            f"{folder.name} has another vocabulary than this project's.",
            hint="Only encoders that cloudseed pre-trained can be fine-tuned.",
            path=str(folder),
        )
    return shape


def load_weights(folder: Path, learner: Learner) -> None:
    """Puts the encoder of a checkpoint of this project's vocabulary into a learner.

    Raises:
        EncoderError: If the weights cannot be read, are not finite or do not fit.
    """
    missing = learner.bert.load_state_dict(open_checkpoint(folder).weights(), strict=False)
    names = [n for n in missing.missing_keys if not n.endswith(("position_ids", "token_type_ids"))]
    if names:
        raise EncoderError(f"The weights of {folder.name} lack {min(names)}.", path=str(folder))
