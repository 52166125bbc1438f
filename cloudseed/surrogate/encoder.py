"""The CLOUD encoder: SCOPE strings in, embeddings out.

A BERT over SCOPE tokens; the state of [CLS] in the last layer is the embedding (Xu, Wang &
Viswanathan, "CLOUD", 2025). It loads the published checkpoint, from a folder or from the Hugging
Face hub, and the small encoder that ships with cloudseed. A checkpoint is data: weights come from
safetensors, and nothing in it is executed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from cloudseed.errors import EncoderError
from cloudseed.surrogate.scope import DIALECTS
from cloudseed.surrogate.tokenizer import ScopeTokenizer, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    import torch
    from transformers import BertModel

__all__ = ["DEFAULT_ENCODER", "CloudEncoder", "Pooling", "shipped_encoders"]

Pooling = Literal["cls", "mean"]

DEFAULT_ENCODER = "cloud-small"
"""The encoder that ships with cloudseed and needs no network."""

FILES = ("config.json", "model.safetensors", "vocab.txt", "*token*.json")
"""What is fetched from the hub."""

TOKENS_PER_BATCH = 4096
"""Tokens in one forward pass; bounds memory, and more is not faster on a CPU."""

_LAYER_FREE = ("pooler.", "cls.", "embeddings.position_ids")
_BYSTANDERS = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}


@dataclass(frozen=True, eq=False)
class CloudEncoder:
    """An encoder that is loaded and ready; make one with `CloudEncoder.load`.

    Attributes:
        id: SHA-256 over weights, configuration, vocabulary, dialect and pooling; keys every cached
            embedding.
        name: The name, folder or hub id it was loaded by.
        dimension: Length d of an embedding.
        dialect: The SCOPE dialect that candidates should be written in. It reads both.
        pooling: "cls" takes the state of [CLS], "mean" the mean over all tokens.
    """

    id: str
    name: str
    dimension: int
    dialect: str
    pooling: Pooling
    _model: BertModel
    _tokenizer: ScopeTokenizer

    @classmethod
    def load(
        cls,
        source: str | Path = DEFAULT_ENCODER,
        *,
        revision: str | None = None,
        offline: bool = False,
        pooling: Pooling | None = None,
    ) -> CloudEncoder:
        """Loads a checkpoint.

        Args:
            source: A shipped name, a folder in the Hugging Face layout, or a hub id "owner/name".
            revision: Commit, tag or branch on the hub.
            offline: Whether to use only what the hub's cache already holds; so does the environment
                variable `HF_HUB_OFFLINE=1`.
            pooling: Overrides what the checkpoint declares; "cls" where it declares nothing.

        Raises:
            EncoderError: If the checkpoint cannot be found, read or trusted.
        """
        folder = _locate(source, revision, offline)
        config = _read_config(folder)
        own = config.get("cloudseed", {})
        dialect, chosen = own.get("dialect", "cloud"), pooling or own.get("pooling", "cls")
        if dialect not in DIALECTS or chosen not in ("cls", "mean"):
            raise EncoderError(
                f"{folder.name} declares dialect {dialect!r} and pooling {chosen!r}.",
                hint=f"Dialects: {', '.join(DIALECTS)}. Pooling: cls, mean.",
                path=str(folder),
            )
        tokenizer = load_tokenizer(folder, config["max_position_embeddings"])
        if len(tokenizer.vocabulary) != config["vocab_size"]:
            raise EncoderError(
                f"{folder.name} has {len(tokenizer.vocabulary)} tokens in its vocabulary, but a"
                f" model of {config['vocab_size']}.",
                hint="Use the vocab.txt and added_tokens.json that belong to the checkpoint.",
                path=str(folder),
            )
        weights = folder / "model.safetensors"
        model = _build(folder.name, config, _read_weights(weights))
        version = f"{dialect}-{DIALECTS[dialect]}"
        return cls(
            id=_identity(weights, config, tokenizer.fingerprint, version, chosen),
            name=str(source),
            dimension=int(config["hidden_size"]),
            dialect=dialect,
            pooling=cast("Pooling", chosen),
            _model=model,
            _tokenizer=tokenizer,
        )

    def embed(
        self,
        strings: Sequence[str],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Returns embeddings, n x d.

        Equal strings are computed once, and strings of one length together, so that nothing is
        padded and no embedding depends on what else is asked for.

        Args:
            strings: SCOPE strings of either dialect.
            progress: Told after each batch how many different strings are done, and of how many.

        Raises:
            ScopeError: If a string is empty, too long or holds an unknown token.
            EncoderError: If an embedding is not finite.
        """
        unique = list(dict.fromkeys(strings))
        lengths: dict[int, list[int]] = defaultdict(list)
        rows = self._tokenizer.encode(unique)
        for index, row in enumerate(rows):
            lengths[len(row)].append(index)
        table = np.empty((len(unique), self.dimension), dtype=np.float32)
        done = 0
        for length, members in sorted(lengths.items()):
            size = max(1, TOKENS_PER_BATCH // length)
            for start in range(0, len(members), size):
                chosen = members[start : start + size]
                table[chosen] = self._forward([rows[i] for i in chosen])
                done += len(chosen)
                if progress is not None:
                    progress(done, len(unique))
        if not np.isfinite(table).all():
            raise EncoderError(
                f"{self.name} gives embeddings that are not finite.",
                hint="The weights are broken; fetch the checkpoint again.",
                encoder=self.id,
            )
        where = {string: index for index, string in enumerate(unique)}
        return table[[where[string] for string in strings]]

    def _forward(self, rows: list[list[int]]) -> npt.NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            states = self._model(input_ids=torch.tensor(rows)).last_hidden_state
            pooled = states[:, 0] if self.pooling == "cls" else states.mean(dim=1)
            return cast("npt.NDArray[np.float32]", pooled.numpy())


def shipped_encoders() -> Mapping[str, Path]:
    """Returns name -> folder of the encoders inside the package."""
    folder = Path(__file__).parent / "weights"
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/config.json"))}


def _locate(source: str | Path, revision: str | None, offline: bool) -> Path:
    shipped = shipped_encoders()
    if str(source) in shipped:
        return shipped[str(source)]
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file() or path.suffix in {".bin", ".pt", ".pth", ".ckpt", ".safetensors"}:
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
    return _fetch(source, revision, offline)


def _fetch(source: str, revision: str | None, offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                source, revision=revision, allow_patterns=list(FILES), local_files_only=offline
            )
        )
    except Exception as error:
        raise EncoderError(
            f"{source} cannot be fetched from the Hugging Face hub.",
            hint="Check the name and the network, or give the folder of a copy. Without a network,"
            f" {DEFAULT_ENCODER!r} ships with cloudseed.",
            source=source,
            revision=revision,
        ) from error


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = config["model_type"]
        sizes = {name: int(config[name]) for name in ("vocab_size", "hidden_size")}
        sizes["max_position_embeddings"] = int(config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(
            f"{folder.name} has no readable config.json.",
            hint="The folder needs config.json, model.safetensors and vocab.txt.",
            path=str(folder),
        ) from error
    if kind != "bert":
        raise EncoderError(
            f"{folder.name} holds a {kind!r} model; a CLOUD encoder is a BERT.", path=str(folder)
        )
    return {**config, **sizes}


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Returns the BERT's own tensors, in single precision, without prefix."""
    if not path.exists():
        legacy = [p for p in path.parent.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".ckpt"}]
        raise EncoderError(
            f"{legacy[0].name} is a pickle, which can run code when it is read."
            if legacy
            else f"{path.parent.name} has no model.safetensors.",
            hint="Convert it where you trust it: safetensors.torch.save_file(state_dict,"
            " 'model.safetensors').",
            path=str(path),
        )
    from safetensors.torch import load_file

    try:
        loaded = load_file(path)
    except Exception as error:
        raise EncoderError(
            f"{path.parent.name}/model.safetensors is truncated or broken.",
            hint="Fetch the checkpoint again.",
            path=str(path),
        ) from error
    short = {name.removeprefix("bert."): value.float() for name, value in loaded.items()}
    return {n: v for n, v in short.items() if not n.startswith(_LAYER_FREE)}


def _build(name: str, config: dict[str, Any], weights: dict[str, torch.Tensor]) -> BertModel:
    """Returns the model, its shapes checked against the weights before any memory is taken."""
    import torch
    from transformers import BertConfig, BertModel

    try:
        with torch.device("meta"):
            model = BertModel(BertConfig(**config), add_pooling_layer=False)
        wanted = {key: value.shape for key, value in model.state_dict().items()}
        wrong = sorted(
            {k for k, shape in wanted.items() if k not in weights or weights[k].shape != shape}
            | (weights.keys() - wanted.keys())
        )
        if not wrong:
            model.load_state_dict(weights, assign=True)
    except Exception as error:
        raise EncoderError(
            f"The configuration of {name} makes no BERT.", hint="Fetch the checkpoint again."
        ) from error
    if wrong or not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise EncoderError(
            f"The weights of {name} do not fit its configuration: {wrong[0]}."
            if wrong
            else f"The weights of {name} are not finite.",
            hint="Fetch the checkpoint again; config.json and model.safetensors belong together.",
            tensors=wrong,
        )
    positions = torch.arange(int(config["max_position_embeddings"])).expand((1, -1))
    model.embeddings.position_ids = positions
    model.embeddings.token_type_ids = torch.zeros_like(positions)
    return cast("BertModel", model.eval().requires_grad_(requires_grad=False))


def _identity(weights: Path, config: dict[str, Any], *rest: str) -> str:
    told = {key: value for key, value in config.items() if key not in _BYSTANDERS}
    told.pop("cloudseed", None)
    digest = hashlib.sha256(json.dumps([told, *rest], sort_keys=True).encode())
    with weights.open("rb") as handle:
        digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()
