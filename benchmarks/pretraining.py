"""Pre-training at the published scale: a million strings that the proposers make, and what is left.

    python benchmarks/pretraining.py --folder build/million

1. Makes `--strings` unique children of the prototypes that ship with pymatgen, as Parquet.
2. Prepares them: tokens, splits and shards, in bounded memory.
3. Trains the shipped shape for `--steps`; a second process is killed (SIGKILL) in mid-training and
   taken up again, and must end where the first ended.
4. Trains the published shape (12 x 768) for a few steps and projects the published recipe, 50
   epochs of 6.3 million strings. The hours here are measured; those of GPUs are projected from 6
   floating-point operations per parameter and token, at `--utilisation` of an H100's 989 TFLOP/s
   (dense bfloat16), since no GPU was at hand.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from cloudseed.surrogate.training.lexicon import Lexicon
from cloudseed.surrogate.training.pretraining import pretrain
from cloudseed.surrogate.training.recipe import PUBLISHED, Recipe
from cloudseed.surrogate.training.shards import TokenShards
from cloudseed.surrogate.training.trainer import workers

PUBLISHED_STRINGS, PUBLISHED_EPOCHS = 6.3e6, 50
H100 = 989e12


def main() -> None:
    options = arguments().parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    table = options.folder / "strings.parquet"
    if not table.exists():
        make(table, options)
    run = trained(options, "whole", options.steps)
    shards = TokenShards.open(options.folder / "data")
    tokens = mean_tokens(shards)
    print(
        f"prepared: {shards.total:,} training strings in {len(shards.counts)} shards,"
        f" {shards.validation:,} held out, {tokens:.1f} tokens a string"
    )
    print(f"shipped shape: {run['tokens_per_second']:,.0f} tokens a second, one thread")
    survived(options, run)
    project(published_rate(options, shards), tokens, options.utilisation)


def make(path: Path, options: argparse.Namespace) -> None:
    """Writes strings of unique children, with `real` 0: none of them is known to exist."""
    import pandas as pd

    from cloudseed.proposers import (
        AllowedElements,
        ChargeNeutrality,
        IonicSubstitution,
        PartialSubstitution,
        ProposalContext,
        SimilaritySubstitution,
        generate,
        permitted_elements,
        prototype_parents,
    )
    from cloudseed.surrogate.scope import scope_string

    started = time.monotonic()
    allowed = permitted_elements(None, ())
    made = generate(
        [
            IonicSubstitution(threshold=1e-12),
            SimilaritySubstitution(threshold=1e-9),
            PartialSubstitution(),
        ],
        ProposalContext(prototype_parents(), allowed),
        [AllowedElements(allowed), ChargeNeutrality()],
        budget=options.budget,
        rng=np.random.default_rng(0),
        workers=2,
    )
    strings = list(dict.fromkeys(scope_string(c, "canonical") for c in made.kept.crystals()))
    chosen = np.random.default_rng(0).permutation(len(strings))[: options.strings]
    frame = pd.DataFrame({"scope": [strings[i] for i in chosen], "real": 0})
    frame.to_parquet(path, row_group_size=65_536)
    print(
        f"made: {len(frame):,} of {len(strings):,} different strings,"
        f" {time.monotonic() - started:.0f} s",
        flush=True,
    )


def line(options: argparse.Namespace, name: str, steps: int) -> list[str]:
    recipe = options.folder / f"{name}.json"
    recipe.write_text(
        json.dumps(
            {
                "steps": steps,
                "warmup": 10,
                "validate_every": max(2, steps // 4),
            }
        )
    )
    return [
        *(sys.executable, "-m", "cloudseed", "encoder", "pretrain"),
        *(str(options.folder / "strings.parquet"), "--out", str(options.folder / name)),
        *("--data", str(options.folder / "data"), "--recipe", str(recipe)),
        *("--threads", "1", "--json"),
    ]


def trained(
    options: argparse.Namespace,
    name: str,
    steps: int,
) -> dict[str, float]:
    started = time.monotonic()
    command = line(options, name, steps)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"{name}: {steps} steps, {time.monotonic() - started:.0f} s with preparation,"
        f" peak memory of any process so far {peak:.2f} GiB",
        flush=True,
    )
    return json.loads(done.stdout)


def survived(options: argparse.Namespace, whole: dict[str, float]) -> None:
    """Kills a training twice, takes it up again, and compares."""
    command = line(options, "killed", options.steps)
    state = options.folder / "killed" / "training.safetensors"
    for _ in range(2):
        seen = state.stat().st_mtime if state.exists() else 0.0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None and (not state.exists() or state.stat().st_mtime <= seen):
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    best = json.loads(done.stdout)["best"]
    print(
        f"killed twice and taken up: best validation {best:.4f}, undisturbed {whole['best']:.4f}",
        flush=True,
    )


def published_rate(options: argparse.Namespace, shards: TokenShards) -> float:
    """Returns the tokens per second of the published shape, one thread, without validation."""
    torch.set_num_threads(1)
    recipe = Recipe(shape=PUBLISHED, batch=16, steps=10_000, validate_every=10_000)
    left = iter(range(options.published_steps - 1, -1, -1))
    with tempfile.TemporaryDirectory() as folder:
        ended = pretrain(shards, Path(folder), recipe, workers("no"), stop=lambda: next(left) == 0)
    return ended.tokens / ended.seconds


def mean_tokens(shards: TokenShards) -> float:
    shard = shards.read(0)
    return len(shard.flat) / len(shard)


def project(measured: float, tokens: float, utilisation: float) -> None:
    """Prints the hours of the published recipe: here, on one GPU, and on eight."""
    total = PUBLISHED_STRINGS * PUBLISHED_EPOCHS * tokens
    vocabulary = Lexicon(PUBLISHED.limit).size
    parameters = PUBLISHED.parameters(vocabulary) - vocabulary * PUBLISHED.hidden
    gpu = H100 * utilisation / (6 * parameters)
    print(f"published shape: {parameters / 1e6:.0f} M parameters without the word table")
    print(f"published recipe: {total:.3g} tokens")
    hours = total / measured / 3600
    print(f"  this processor, one thread, measured {measured:,.0f} tokens/s: {hours:,.0f} h")
    for count, share in ((1, 1.0), (8, 0.9)):
        rate = count * share * gpu
        scaling = " and nine tenths of the scaling" if count > 1 else ""
        print(
            f"  {count} x H100, projected {rate:,.0f} tokens/s at {utilisation:.0%} of the peak"
            f"{scaling}: {total / rate / 3600:,.1f} h"
        )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--budget", type=int, default=12_000, help="raw children per parent")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--published-steps", type=int, default=6)
    parser.add_argument("--utilisation", type=float, default=0.35)
    return parser


if __name__ == "__main__":
    main()
