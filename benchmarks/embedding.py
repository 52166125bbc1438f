"""Embeddings per second, against the plain loop with the same weights.

    python benchmarks/embedding.py

The plain loop is the published code's way: the transformers library's BERT in batches of 32, padded
to 64 tokens, in single precision. Both sides get the same distinct strings and the same cores, and
run in turn. Two models: the shipped encoder on canonical strings of Materials Project crystals, and
random weights of the published layout and size on the published strings. Prints rates, their ratio
in each turn, and the least cosine between the two sides' embeddings; stops with an error if that is
below 0.999.

On a machine that has other work, look at CPU-seconds with `--threads 1`: PyTorch's own threads wait
for one another in every multiplication, which such a machine makes long.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from cloudseed.crystal import Crystal, read_crystals
from cloudseed.errors import CloudseedError
from cloudseed.surrogate.checkpoint import open_checkpoint
from cloudseed.surrogate.encoder import LEAST_COSINE, CloudEncoder, available_cores
from cloudseed.surrogate.scope import scope_string

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))
PADDED_TO, BATCH = 64, 32


def main() -> None:
    options = arguments().parse_args()
    kind = torch.backends.cpu.get_cpu_capability()
    print(f"{options.threads} cores, {kind}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        for label, encoder, strings in cases(options, Path(folder)):
            compare(label, encoder, strings, options)


def cases(options: argparse.Namespace, folder: Path) -> list[tuple[str, Path, list[str]]]:
    published = list(
        pd.read_csv(DATA / "scope_pretrain.csv.gz")["scope"].sample(20_000, random_state=0)
    )
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from cloudseed.surrogate.checkpoint import shipped_encoders
    from tests.surrogate.checkpoints import write_published

    found = []
    if options.shipped:
        table = pd.read_csv(DATA / "mp_structures_0.csv.gz", usecols=["cif"])["cif"]
        sources = [(str(n), cif) for n, cif in enumerate(table[: 2 * options.shipped])]
        crystals = [c for c in read_crystals(sources, workers=2) if isinstance(c, Crystal)]
        strings = [scope_string(crystal, "canonical") for crystal in crystals]
        home = shipped_encoders()["cloud-small"]
        found.append(("cloud-small", home, fitting(home, strings, options.shipped)))
    if options.published:
        home = write_published(folder / "published", rows=30_522)
        found.append(("published size", home, fitting(home, published, options.published)))
    return found


def fitting(home: Path, strings: Sequence[str], count: int) -> list[str]:
    """Returns distinct strings that the encoder takes."""
    tokenizer, kept = CloudEncoder.load(home)._tokenizer, []
    for string in dict.fromkeys(strings):
        try:
            tokenizer.encode([string])
        except CloudseedError:
            continue
        kept.append(string)
        if len(kept) == count:
            break
    return kept


class PlainLoop:
    """BERT as the transformers library runs it, in fixed batches of padded strings."""

    def __init__(self, home: Path) -> None:
        from transformers import BertConfig, BertModel

        checkpoint = open_checkpoint(home)
        config = BertConfig(**json.loads((home / "config.json").read_text()))
        self.model = BertModel(config, add_pooling_layer=False).eval()
        self.model.load_state_dict(checkpoint.weights(), strict=False)
        self.tokenizer = CloudEncoder.load(home)._tokenizer

    def embed(self, strings: Sequence[str]) -> np.ndarray:
        parts = []
        for start in range(0, len(strings), BATCH):
            rows = self.tokenizer.encode(strings[start : start + BATCH])
            tokens = torch.zeros(len(rows), PADDED_TO, dtype=torch.long)
            mask = torch.zeros_like(tokens)
            for place, row in enumerate(rows):
                tokens[place, : len(row)] = torch.tensor(row)
                mask[place, : len(row)] = 1
            with torch.no_grad():
                states = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state
            parts.append(states[:, 0].numpy())
        return np.concatenate(parts)


def compare(label: str, home: Path, strings: list[str], options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    plain = PlainLoop(home)
    sides = {}
    for precision in options.precision:
        try:
            sides[precision] = CloudEncoder.load(home, threads=options.threads, precision=precision)
        except CloudseedError as error:
            print(f"{label}, {precision}: refused: {error}")
    lengths = [len(row) for row in plain.tokenizer.encode(strings)]
    print(f"{label}: {len(strings)} distinct strings of {np.mean(lengths):.1f} tokens on average")
    ratios: dict[str, list[float]] = {precision: [] for precision in sides}
    for side in (plain, *sides.values()):
        side.embed(strings[: 4 * BATCH])
    for turn in range(options.turns):
        reference, seconds, work = timed(plain, strings)
        line = [f"plain {len(strings) / seconds:.1f}/s"]
        for precision, encoder in sides.items():
            vectors, ours, our_work = timed(encoder, strings)
            ratios[precision].append(seconds / ours)
            cosine = least_cosine(reference, vectors)
            line.append(
                f"{precision} {len(strings) / ours:.1f}/s = {seconds / ours:.2f}x,"
                f" {work / our_work:.2f}x in CPU-seconds, least cosine {cosine:.6f}"
            )
            if cosine < LEAST_COSINE:
                sys.exit(f"{label}, {precision}: cosine {cosine:.6f} is below {LEAST_COSINE}")
        print(f"  turn {turn + 1}: {'; '.join(line)}", flush=True)
    for precision, values in ratios.items():
        print(f"{label}, {precision}: {np.median(values):.2f} times the plain loop (median)")


def timed(side: PlainLoop | CloudEncoder, strings: list[str]) -> tuple[np.ndarray, float, float]:
    """Returns embeddings, seconds on the clock and CPU-seconds."""
    start, work = time.perf_counter(), time.process_time()
    vectors = side.embed(strings)
    return vectors, time.perf_counter() - start, time.process_time() - work


def least_cosine(a: np.ndarray, b: np.ndarray) -> float:
    products = (a * b).sum(axis=1)
    return float((products / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--shipped", type=int, default=2000, help="strings for cloud-small")
    parser.add_argument("--published", type=int, default=384, help="strings for the large model")
    parser.add_argument("--precision", nargs="+", default=["float32", "int8"])
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--turns", type=int, default=3)
    return parser


if __name__ == "__main__":
    main()
