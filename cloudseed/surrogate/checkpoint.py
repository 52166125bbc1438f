"""Checkpoints of CLOUD encoders: found, fetched, checked and read.

A checkpoint is data. Weights come from safetensors and nothing in it is executed; before any
memory is taken, the shapes of all tensors are held against the configuration, and the bytes against
every SHA-256 that is known for them: the caller's, the one that the checkpoint declares, and the
one under which the Hugging Face hub's cache keeps a file.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudseed.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from transformers import BertModel

__all__ = ["DEFAULT_ENCODER", "Checkpoint", "open_checkpoint", "seal", "shipped_encoders"]

DEFAULT_ENCODER = "cloud-small"
"""The encoder that ships with cloudseed and needs no network."""

WEIGHTS = "model.safetensors"

FILES = (
    "config.json",
    WEIGHTS,
    "vocab.txt",
    "*token*.json",
    "heads.*",
    "training.json",
    "README.md",
)
"""What is fetched from the hub; the last three are not needed to embed."""

PUBLISHED_FOLDER = "ckpt"
"""Where the published repository, ChangwenXu/CLOUD, keeps its checkpoint."""

BERT = {
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
}
"""What a BERT's configuration means where it says nothing, as in the transformers library."""

_SIZES = (
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "type_vocab_size",
    "vocab_size",
)
_LAYER_FREE = ("pooler.", "cls.", "embeddings.position_ids")
_BYSTANDERS = {
    "_name_or_path",
    "architectures",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "cloudseed",
}
_PICKLES = {".bin", ".pt", ".pth", ".ckpt"}


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A checkpoint whose weights are not read yet.

    Attributes:
        folder: Where its files are.
        config: Its configuration, as written.
        sha256: SHA-256 of `model.safetensors`.
        revision: The hub's commit, if it came from there.
    """

    folder: Path
    config: Mapping[str, Any]
    sha256: str
    revision: str | None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def declared(self) -> Mapping[str, Any]:
        """What the checkpoint declares for cloudseed: dialect, pooling, SHA-256."""
        found: Mapping[str, Any] = self.config.get("cloudseed", {})
        return found

    def identity(self, *rest: str) -> str:
        """Returns SHA-256 over weights, configuration and whatever else embeddings depend on."""
        told = {k: v for k, v in self.config.items() if k not in _BYSTANDERS}
        digest = hashlib.sha256(json.dumps([told, *rest], sort_keys=True).encode())
        digest.update(bytes.fromhex(self.sha256))
        return digest.hexdigest()

    @property
    def bert(self) -> Mapping[str, Any]:
        """The configuration with BERT's defaults filled in."""
        return {**BERT, **self.config}

    def weights(self) -> dict[str, torch.Tensor]:
        """Returns the BERT's own tensors, in single precision, without prefix.

        Raises:
            EncoderError: If the file is broken, does not fit the configuration or holds a number
                that is not finite.
        """
        from safetensors import safe_open

        try:
            with safe_open(self.folder / WEIGHTS, framework="pt") as file:
                names = {name.removeprefix("bert."): name for name in list(file.keys())}
                names = {n: s for n, s in names.items() if not n.startswith(_LAYER_FREE)}
                shapes = {n: file.get_slice(source).get_shape() for n, source in names.items()}
                self._check_shapes({name: tuple(shape) for name, shape in shapes.items()})
                tensors = {n: file.get_tensor(source).float() for n, source in names.items()}
        except EncoderError:
            raise
        except Exception as error:
            raise EncoderError(
                f"{self.name}/{WEIGHTS} is truncated or broken.",
                hint="Fetch the checkpoint again.",
                path=str(self.folder / WEIGHTS),
            ) from error
        for name, tensor in tensors.items():
            if not bool(tensor.isfinite().all()):
                raise EncoderError(
                    f"The weights of {self.name} are not finite: {name}.",
                    hint="Fetch the checkpoint again.",
                    tensors=[name],
                )
        return tensors

    def trainable(self, *, pretrained: bool = True) -> BertModel:
        """Returns the encoder as a model of the transformers library, to train further.

        Args:
            pretrained: Whether it gets the checkpoint's weights or random ones.

        Raises:
            EncoderError: As `weights`.
        """
        from transformers import BertConfig, BertModel

        model = BertModel(BertConfig(**self.bert), add_pooling_layer=False)
        if pretrained:
            model.load_state_dict(self.weights(), strict=False)
        return model

    def _check_shapes(self, found: Mapping[str, tuple[int, ...]]) -> None:
        wanted = _shapes(self.bert)
        wrong = sorted(
            {name for name, shape in wanted.items() if found.get(name) != shape}
            | (found.keys() - wanted.keys())
        )
        if wrong:
            raise EncoderError(
                f"The weights of {self.name} do not fit its configuration: {wrong[0]}.",
                hint="Fetch the checkpoint again; config.json and model.safetensors belong"
                " together.",
                tensors=wrong,
            )


def shipped_encoders() -> Mapping[str, Path]:
    """Returns name -> folder of the encoders inside the package."""
    folder = Path(__file__).parent / "weights"
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/config.json"))}


def open_checkpoint(
    source: str | Path,
    *,
    revision: str | None = None,
    offline: bool = False,
    sha256: str | None = None,
) -> Checkpoint:
    """Finds a checkpoint, fetches it if need be, and checks its configuration and its bytes.

    Args:
        source: A shipped name, a folder in the Hugging Face layout, or a hub id "owner/name".
        revision: Commit, tag or branch on the hub.
        offline: Whether to use only what the hub's cache already holds.
        sha256: What `model.safetensors` must have.

    Raises:
        EncoderError: If it cannot be found, read or trusted.
    """
    folder, commit = _locate(source, revision, offline)
    config = _read_config(folder)
    weights = folder / WEIGHTS
    if not weights.exists():
        raise _no_weights(folder)
    with weights.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    blob = weights.resolve()
    known = {
        "the caller expects": sha256,
        "its config.json declares": config.get("cloudseed", {}).get("sha256"),
        "the hub recorded": blob.name
        if blob.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", blob.name)
        else None,
    }
    for who, expected in known.items():
        if expected is not None and str(expected).lower() != found:
            raise EncoderError(
                f"The weights of {folder.name} were changed: their SHA-256 is {found[:12]}...,"
                f" where {who} {str(expected)[:12]}....",
                hint="Fetch the checkpoint again, from where you trust it.",
                path=str(weights),
                sha256=found,
                expected=expected,
            )
    return Checkpoint(folder, config, found, commit)


def seal(folder: Path) -> str:
    """Declares the SHA-256 of a checkpoint's weights in its config.json, and returns it.

    Loading refuses weights that were changed since; the encoder's id stays the same.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    with (folder / WEIGHTS).open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    config["cloudseed"] = {**config.get("cloudseed", {}), "sha256": found}
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)
    return found


def _locate(source: str | Path, revision: str | None, offline: bool) -> tuple[Path, str | None]:
    """Returns a checkpoint's folder and, from the hub, its commit."""
    shipped = shipped_encoders()
    if str(source) in shipped:
        return shipped[str(source)], None
    path = Path(source).expanduser()
    if path.is_dir():
        return _inside(path), None
    if path.is_file() or path.suffix in {*_PICKLES, ".safetensors"}:
        raise EncoderError(
            f"{source} is not a folder.",
            hint="Give the folder that holds config.json, model.safetensors and vocab.txt.",
            path=str(source),
        )
    if isinstance(source, Path) or not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        near = difflib.get_close_matches(str(source), list(shipped), n=1)
        raise EncoderError(
            f"There is no encoder {str(source)!r}.",
            hint=f"Did you mean {near[0]!r}?"
            if near
            else f"Give a folder, a hub id owner/name, or one of: {', '.join(shipped)}.",
            source=str(source),
        )
    folder = _fetch(source, revision, offline)
    return _inside(folder), folder.name if folder.parent.name == "snapshots" else None


def _inside(folder: Path) -> Path:
    """Returns the folder itself, or the one in it where the published repository has its files."""
    inner = folder / PUBLISHED_FOLDER
    return inner if not (folder / "config.json").exists() and inner.is_dir() else folder


def _fetch(source: str, revision: str | None, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    wanted = [*FILES, *(f"{PUBLISHED_FOLDER}/{name}" for name in FILES)]
    hint = (
        "Check the name and the network, or give the folder of a copy. Without a network,"
        f" {DEFAULT_ENCODER!r} ships with cloudseed."
    )
    try:
        return Path(
            snapshot_download(
                source, revision=revision, allow_patterns=wanted, local_files_only=offline
            )
        )
    except Exception as error:
        if isinstance(error, RevisionNotFoundError):
            why = f"{source} has no revision {revision!r} on the Hugging Face hub."
        elif isinstance(error, RepositoryNotFoundError):
            why = f"There is no public repository {source} on the Hugging Face hub."
        else:
            why = f"{source} cannot be fetched from the Hugging Face hub."
        raise EncoderError(why, hint=hint, source=source, revision=revision) from error


def _no_weights(folder: Path) -> EncoderError:
    legacy = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES)
    return EncoderError(
        f"{legacy[0]} is a pickle, which can run code when it is read."
        if legacy
        else f"{folder.name} has no {WEIGHTS}.",
        hint="Convert it where you trust it: safetensors.torch.save_file(state_dict,"
        " 'model.safetensors').",
        path=str(folder / WEIGHTS),
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        bert = {**BERT, **config}
        kind, positions = bert["model_type"], bert["position_embedding_type"]
        numbers = {name: int(bert[name]) for name in _SIZES}
        eps, own = float(bert["layer_norm_eps"]), {**config.get("cloudseed", {})}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(
            f"{folder.name} has no readable config.json.",
            hint="An encoder's folder holds config.json, model.safetensors and vocab.txt.",
            path=str(folder),
        ) from error
    if kind != "bert" or positions != "absolute":
        raise EncoderError(
            f"{folder.name} holds a {kind!r} model; a CLOUD encoder is a BERT with absolute"
            " positions.",
            hint="Give the checkpoint of a CLOUD encoder.",
            path=str(folder),
        )
    split = numbers["hidden_size"] % max(1, numbers["num_attention_heads"])
    if min(numbers.values()) < 1 or split or not eps > 0:
        raise EncoderError(
            f"The configuration of {folder.name} makes no BERT.",
            hint="Fetch the checkpoint again.",
            path=str(folder),
        )
    return config | {name: numbers[name] for name in _SIZES if name in config} | {"cloudseed": own}


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns name -> shape of the tensors of a BERT without heads."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    rows = {
        "word": config["vocab_size"],
        "position": config["max_position_embeddings"],
        "token_type": config["type_vocab_size"],
    }
    shapes: dict[str, tuple[int, ...]] = {
        f"embeddings.{name}_embeddings.weight": (n, width) for name, n in rows.items()
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(min(config["num_hidden_layers"], 1000)):
        stem = f"encoder.layer.{layer}"
        dense = {
            **{f"attention.self.{x}": (width, width) for x in ("query", "key", "value")},
            "attention.output.dense": (width, width),
            "intermediate.dense": (inner, width),
            "output.dense": (width, inner),
        }
        for name, shape in dense.items():
            shapes[f"{stem}.{name}.weight"] = shape
            shapes[f"{stem}.{name}.bias"] = shape[:1]
        norms += [f"{stem}.attention.output.LayerNorm", f"{stem}.output.LayerNorm"]
    return shapes | {f"{norm}.{part}": (width,) for norm in norms for part in ("weight", "bias")}
