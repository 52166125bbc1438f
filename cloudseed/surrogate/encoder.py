"""The CLOUD encoder: SCOPE strings in, embeddings out.

A BERT over SCOPE tokens; the state of [CLS] in the last layer is the embedding (Xu, Zhu &
Viswanathan, Nat. Commun. 17, 4074 (2026), doi:10.1038/s41467-026-70467-3). It loads the published
checkpoint, from a folder or from the Hugging Face hub, and the small encoder that ships with
cloudseed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from cloudseed.crystal import multiplicities
from cloudseed.errors import EncoderError, ScopeError
from cloudseed.surrogate.checkpoint import DEFAULT_ENCODER, open_checkpoint, shipped_encoders
from cloudseed.surrogate.forward import BertForward, Precision
from cloudseed.surrogate.scope import DIALECTS, generators
from cloudseed.surrogate.tokenizer import PublishedTokenizer, ScopeTokenizer, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from cloudseed.surrogate.checkpoint import Checkpoint

    Batch = tuple[npt.NDArray[np.intp], npt.NDArray[np.int32]]

__all__ = [
    "DEFAULT_ENCODER",
    "CloudEncoder",
    "Pooling",
    "Precision",
    "available_cores",
    "shipped_encoders",
]

Pooling = Literal["cls", "mean"]

TOKENS_PER_BATCH = {"cpu": 2048, "gpu": 65_536}
"""Tokens in one forward pass; bounds memory, and more is not faster."""

ENCODED_AT_ONCE = 16_384
"""Strings that are held as Python lists of token numbers; the rest are arrays."""

UNSET_VOCABULARY = 30_522
"""Rows of the word table in the published checkpoint: BERT's default, of which it uses 564."""

LEAST_COSINE = 0.999
"""How close embeddings of reduced precision must be to those in single precision."""


@dataclass(frozen=True, eq=False)
class CloudEncoder:
    """An encoder that is loaded and ready; make one with `CloudEncoder.load`.

    Attributes:
        id: SHA-256 over weights, configuration, vocabulary, dialect, pooling and a reduced
            precision; keys every cached embedding.
        name: The name, folder or hub id it was loaded by.
        dimension: Length d of an embedding.
        dialect: The SCOPE dialect that candidates should be written in. It reads both.
        pooling: "cls" takes the state of [CLS], "mean" the mean over all tokens.
        sha256: SHA-256 of the weights' file.
        revision: The hub's commit, if the checkpoint came from there.
        precision: "float32", "int8" or "bfloat16".
        threads: Batches that are computed at the same time, on as many cores.
    """

    id: str
    name: str
    dimension: int
    dialect: str
    pooling: Pooling
    sha256: str
    revision: str | None
    precision: Precision
    threads: int
    _forward: BertForward = field(repr=False)
    _tokenizer: ScopeTokenizer = field(repr=False)

    @classmethod
    def load(
        cls,
        source: str | Path = DEFAULT_ENCODER,
        *,
        revision: str | None = None,
        offline: bool = False,
        sha256: str | None = None,
        pooling: Pooling | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        threads: int | None = None,
    ) -> CloudEncoder:
        """Loads a checkpoint.

        Args:
            source: A shipped name, a folder in the Hugging Face layout, or a hub id "owner/name".
            revision: Commit, tag or branch on the hub.
            offline: Whether to use only what the hub's cache already holds; so does the environment
                variable `HF_HUB_OFFLINE=1`.
            sha256: What the weights' file must have.
            pooling: Overrides what the checkpoint declares; "cls" where it declares nothing.
            device: A torch device; "auto" takes a GPU if there is one.
            precision: "float32"; "int8" on processors or "bfloat16" on GPUs is faster, and refused
                where a probe of strings shows a cosine below 0.999.
            threads: Cores to use; all that this process may use if None. The environment's
                OMP_NUM_THREADS does not matter here.

        Raises:
            EncoderError: If the checkpoint cannot be found, read or trusted.
        """
        checkpoint = open_checkpoint(source, revision=revision, offline=offline, sha256=sha256)
        dialect, chosen = _declared(checkpoint, pooling)
        tokenizer = load_tokenizer(checkpoint.folder, checkpoint.bert["max_position_embeddings"])
        _check_vocabulary(checkpoint, tokenizer)
        weights, place = checkpoint.weights(), _resolve(device)

        def encoder(precision: Precision) -> CloudEncoder:
            extra = () if precision == "float32" else (precision,)
            version = f"{dialect}-{DIALECTS[dialect]}"
            return cls(
                id=checkpoint.identity(tokenizer.fingerprint, version, chosen, *extra),
                name=str(source),
                dimension=int(checkpoint.bert["hidden_size"]),
                dialect=dialect,
                pooling=chosen,
                sha256=checkpoint.sha256,
                revision=checkpoint.revision,
                precision=precision,
                threads=max(1, threads or available_cores()),
                _forward=BertForward(
                    checkpoint.bert,
                    weights,
                    tokens=len(tokenizer.vocabulary),
                    device=place,
                    precision=precision,
                ),
                _tokenizer=tokenizer,
            )

        loaded = encoder(precision)
        if precision != "float32":
            _check_precision(loaded, encoder("float32"))
        return loaded

    def embed(
        self,
        strings: Sequence[str],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Returns embeddings, n x d.

        Equal strings are computed once, and strings of one length together, so that nothing is
        padded and no embedding depends on what else is asked for. Each core computes whole batches
        by itself.

        Args:
            strings: SCOPE strings of either dialect.
            progress: Told after each batch how many different strings are done, and of how many.

        Raises:
            ScopeError: If a string is empty, too long or holds an unknown token.
            EncoderError: If an embedding is not finite.
        """
        unique = list(dict.fromkeys(strings))
        table = np.empty((len(unique), self.dimension), dtype=np.float32)
        done = 0
        with _workers(self.threads if self._forward.device.type == "cpu" else 1) as run:
            for members, vectors in run(self._compute, self._batches(unique)):
                table[members] = vectors
                done += len(members)
                if progress is not None:
                    progress(done, len(unique))
        if not np.isfinite(table).all():
            raise EncoderError(
                f"{self.name} gives embeddings that are not finite.",
                hint="The weights are broken; fetch the checkpoint again.",
                encoder=self.id,
            )
        if len(unique) == len(strings):
            return table
        where = {string: index for index, string in enumerate(unique)}
        return table[[where[string] for string in strings]]

    def refusals(self, strings: Sequence[str]) -> dict[str, ScopeError]:
        """Returns the strings that this encoder cannot read, each with the error that it gives."""
        found = {}
        for string in dict.fromkeys(strings):
            try:
                self._tokenizer.encode([string])
            except ScopeError as error:
                found[string] = error
        return found

    def _batches(self, strings: Sequence[str]) -> list[Batch]:
        """Returns the batches, each the places of its strings and their token numbers."""
        places: dict[int, list[npt.NDArray[np.intp]]] = defaultdict(list)
        numbers: dict[int, list[npt.NDArray[np.int32]]] = defaultdict(list)
        for start in range(0, len(strings), ENCODED_AT_ONCE):
            rows = self._tokenizer.encode(strings[start : start + ENCODED_AT_ONCE])
            lengths = np.array([len(row) for row in rows])
            for length in np.unique(lengths).tolist():
                members = np.flatnonzero(lengths == length)
                places[length].append(members + start)
                numbers[length].append(np.array([rows[i] for i in members], dtype=np.int32))
        limit = TOKENS_PER_BATCH["cpu" if self._forward.device.type == "cpu" else "gpu"]
        batches: list[Batch] = []
        for length in sorted(places):
            members, tokens = np.concatenate(places[length]), np.concatenate(numbers[length])
            size = max(1, limit // length)
            cuts = range(size, len(members), size)
            batches += zip(np.split(members, cuts), np.split(tokens, cuts), strict=True)
        return batches

    def _compute(self, batch: Batch) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        import torch

        members, tokens = batch
        cls_only = self.pooling == "cls"
        states = self._forward(torch.from_numpy(tokens.astype(np.int64)), cls_only=cls_only)
        vectors = states[:, 0] if cls_only else states.mean(dim=1)
        return members, cast("npt.NDArray[np.float32]", vectors.numpy())


def available_cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _workers(count: int) -> Iterator[Callable[..., Iterator[tuple[np.ndarray, np.ndarray]]]]:
    """Gives a `map` that runs on so many threads, each of which keeps PyTorch to one core.

    Threads that share out batches need not wait for one another inside each multiplication, and
    the result does not depend on their number.
    """
    import torch

    before = torch.get_num_threads()
    executor = ThreadPoolExecutor(
        count, "cloudseed-encoder", initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        yield executor.map
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(before)


def _declared(checkpoint: Checkpoint, pooling: Pooling | None) -> tuple[str, Pooling]:
    own = checkpoint.declared
    dialect, chosen = own.get("dialect", "cloud"), pooling or own.get("pooling", "cls")
    if dialect not in DIALECTS or chosen not in ("cls", "mean"):
        raise EncoderError(
            f"{checkpoint.name} declares dialect {dialect!r} and pooling {chosen!r}.",
            hint=f"Dialects: {', '.join(DIALECTS)}. Pooling: cls, mean.",
            path=str(checkpoint.folder),
        )
    return dialect, chosen


def _check_vocabulary(checkpoint: Checkpoint, tokenizer: ScopeTokenizer) -> None:
    """Refuses another number of tokens than the word table has rows.

    The published model was made with BERT's default of 30,522 rows for its 564 tokens.
    """
    tokens, rows = len(tokenizer.vocabulary), int(checkpoint.bert["vocab_size"])
    unset = isinstance(tokenizer, PublishedTokenizer) and rows == UNSET_VOCABULARY
    if tokens > rows or (tokens < rows and not unset):
        raise EncoderError(
            f"{checkpoint.name} has {tokens} tokens in its vocabulary, but a model of {rows}.",
            hint="Use the vocab.txt and added_tokens.json that belong to the checkpoint.",
            path=str(checkpoint.folder),
        )


def _resolve(device: str) -> str:
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _check_precision(reduced: CloudEncoder, single: CloudEncoder) -> None:
    """Refuses a reduced precision that bends the embeddings of a probe of strings."""
    a, b = (encoder.embed(_probe()) for encoder in (reduced, single))
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    if not cosine.min() >= LEAST_COSINE:
        raise EncoderError(
            f"{reduced.name} in {reduced.precision} is off: cosine {cosine.min():.4f} to single"
            f" precision, at least {LEAST_COSINE} is asked.",
            hint="Use precision 'float32'.",
            cosine=float(cosine.min()),
        )


def _probe() -> list[str]:
    """Returns strings of many groups, elements and lengths, made from tables."""
    heads = generators()
    salts = [("Na", "Cl"), ("Mg", "O"), ("Fe", "S"), ("Ga", "As"), ("La", "N"), ("U", "C")]
    strings = []
    for step, group in enumerate((2, 14, 62, 123, 139, 166, 194, 216, 221, 225, 227, 230)):
        first, second = salts[step % len(salts)]
        letters = multiplicities(group)
        a, b = (f"{letters[letter]}{letter}" for letter in ("a", "b"))
        head = " ".join(heads[group])
        strings.append(f"{head} | {a} {b} | {first} 0.5 {second} 0.5")
        strings.append(f"{head} | {a} {first} {b} {second} | {first} 0.25 {second} 0.75")
        strings.append(f"{head} | {a} | {first} 1.0")
    return strings
