import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cloudseed.errors import EncoderError, SpecError
from cloudseed.surrogate.encoder import CloudEncoder
from cloudseed.surrogate.training.card import facts
from cloudseed.surrogate.training.learner import Scale, Scales, losses
from cloudseed.surrogate.training.pretraining import pretrain
from cloudseed.surrogate.training.recipe import PUBLISHED, read_recipe
from cloudseed.surrogate.training.shards import TokenShards
from cloudseed.surrogate.training.trainer import Outcome, workers
from tests.surrogate.training.kit import STRINGS, prepared, small, table


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    return prepared(tmp_path_factory.mktemp("shards"), rows_per_shard=200)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shards: TokenShards) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("encoder")
    return folder, pretrain(shards, folder, small(), workers("no"))


def log(folder: Path) -> list[dict[str, float]]:
    with (folder / "training.csv").open() as handle:
        return [{k: float(v or "nan") for k, v in row.items()} for row in csv.DictReader(handle)]


def weights(folder: Path) -> np.ndarray:
    return CloudEncoder.load(folder).embed(STRINGS[:50])


def test_losses_fall(trained: tuple[Path, Outcome]) -> None:
    rows = log(trained[0])
    assert [row["step"] for row in rows] == [8, 16, 24]
    for name in ("sites", "statistics", "masked"):
        assert rows[-1][f"validation_{name}"] < rows[0][f"validation_{name}"], name
    assert trained[1].stopped == "steps"
    assert trained[1].tokens > 24 * 32 * 15


def test_checkpoint_loads_and_tells_of_itself(trained: tuple[Path, Outcome]) -> None:
    encoder = CloudEncoder.load(trained[0])
    assert (encoder.dimension, encoder.dialect) == (32, "canonical")
    assert encoder.embed(STRINGS[:4]).shape == (4, 32)
    known = facts(trained[0])
    assert known["sha256"] == encoder.sha256
    assert known["training"]["outcome"]["step"] == 24
    assert known["training"]["recipe"]["steps"] == 24
    assert set(known["training"]["data"]) == {"strings.csv", "children", "seed"}


def test_masked_tokens_alone_can_teach(shards: TokenShards, tmp_path: Path) -> None:
    pretrain(shards, tmp_path / "masked", small(chemistry=False), workers("no"))
    rows = log(tmp_path / "masked")
    told = {name for name in rows[0] if name.startswith("validation_")}
    assert told == {"validation_masked"}
    assert rows[-1]["validation_masked"] < rows[0]["validation_masked"]
    assert CloudEncoder.load(tmp_path / "masked").pooling == "mean"


def test_strings_without_a_label_are_all_masked_where_there_is_no_chemistry() -> None:
    count = 4
    batch = SimpleNamespace(
        tokens=np.full((count, 6), 20),
        real=np.zeros(count, dtype=bool),
        labels=np.full((count, 1), np.nan, dtype=np.float32),
        symbols=np.zeros((count, 40)),
    )
    asked: list[torch.Tensor] = []

    def learner(tokens: torch.Tensor, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
        asked.append(hidden)
        return {"masked": torch.zeros(int(hidden.sum()), 40)}

    scale = Scale(torch.zeros(1), torch.ones(1))
    found = losses(
        learner,  # type: ignore[arg-type]
        batch,  # type: ignore[arg-type]
        Scales(scale, scale, ("a",)),
        masked=0.3,
        chemistry=False,
        rng=np.random.default_rng(0),
        device=torch.device("cpu"),
    )
    assert set(found) == {"masked"}
    assert asked[0].any(dim=1).sum() > 1


def test_an_interrupted_training_ends_as_an_undisturbed_one(
    shards: TokenShards, tmp_path: Path
) -> None:
    recipe, told = small(dropout=0.2), []
    whole = pretrain(shards, tmp_path / "whole", recipe, workers("no"))
    out = tmp_path / "interrupted"
    stopped = pretrain(
        shards,
        out,
        recipe,
        workers("no"),
        progress=lambda step, *_: told.append(step),
        stop=lambda: len(told) == 10,
    )
    assert (stopped.stopped, stopped.step) == ("asked", 11)
    ended = pretrain(
        shards, out, recipe, workers("no"), progress=lambda step, *_: told.append(step)
    )
    assert (ended.stopped, ended.step) == ("steps", 24)
    assert told == list(range(1, 25))
    assert [row["step"] for row in log(out)] == [8, 16, 24]
    np.testing.assert_allclose(weights(out), weights(tmp_path / "whole"), atol=1e-5)
    assert (ended.best, ended.tokens) == (pytest.approx(whole.best, rel=1e-6), whole.tokens)


def test_another_seed_is_another_training(shards: TokenShards, tmp_path: Path) -> None:
    one, two = (
        pretrain(shards, tmp_path / str(seed), small(seed=seed, steps=8), workers("no")).best
        for seed in (0, 1)
    )
    assert one != two


def test_a_broken_state_is_refused(
    trained: tuple[Path, Outcome], shards: TokenShards, tmp_path: Path
) -> None:
    whole = (trained[0] / "training.safetensors").read_bytes()
    (tmp_path / "training.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EncoderError, match="cannot be taken up"):
        pretrain(shards, tmp_path, small(), workers("no"))
    (tmp_path / "training.safetensors").write_bytes(whole)
    for change, name in (
        ({"hidden": 64}, "shape"),
        ({"batch": 16}, "batch"),
        ({"seed": 3}, "seed"),
    ):
        with pytest.raises(EncoderError, match=f"with other {name}"):
            pretrain(shards, tmp_path, small(**change), workers("no"))
    longer = pretrain(shards, tmp_path, small(steps=25, patience=9), workers("no"))
    assert longer.step == 25


def test_a_folder_has_one_training_at_a_time(shards: TokenShards, tmp_path: Path) -> None:
    def second(step: int, *_: object) -> None:
        with pytest.raises(EncoderError, match="Another training"):
            pretrain(shards, tmp_path, small(), workers("no"))

    assert pretrain(shards, tmp_path, small(steps=2), workers("no"), progress=second).step == 2


def test_training_stops_when_nothing_gets_better(shards: TokenShards, tmp_path: Path) -> None:
    recipe = small(steps=400, validate_every=1, patience=2, rate=1e-9, warmup=0)
    ended = pretrain(shards, tmp_path, recipe, workers("no"))
    assert ended.stopped == "patience"
    assert ended.step < 100
    again = pretrain(shards, tmp_path, recipe, workers("no"))
    assert (again.stopped, again.step) == ("patience", ended.step)
    assert facts(tmp_path)["training"]["outcome"]["stopped"] == "patience"


def test_the_best_encoder_stays(shards: TokenShards, tmp_path: Path) -> None:
    calls = iter([False] * 8 + [True] * 100)
    pretrain(shards, tmp_path, small(), workers("no"), stop=lambda: next(calls))
    known = json.loads((tmp_path / "training.json").read_text())
    assert (known["outcome"]["best_step"], known["outcome"]["stopped"]) == (8, "asked")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("stepps: 10", "'steps'"),
        ("shape: {hiden: 64}", "'hidden'"),
        ("steps: 0", "0"),
        ("shape: {hidden: 64, heads: 7}", ""),
        ("[1, 2]", "steps"),
        ("rate: fast", "fast"),
        ("{", "YAML"),
    ],
)
def test_recipes_are_checked(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as error:
        read_recipe(path)
    assert hint in error.value.hint + error.value.message


def test_recipes_are_layered(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("steps: 10\nshape: {layers: 2}\n")
    found = read_recipe(path, {"steps": 5, "rate": 0.5}, hidden=60, batch=None)
    assert (found.steps, found.rate, found.batch) == (10, 0.5, 128)
    assert (found.shape.layers, found.shape.hidden) == (2, 60)
    rates = [found.rate_at(step) for step in range(10)]
    assert max(rates) <= 0.5


def test_parameters_are_counted() -> None:
    from transformers import BertConfig, BertModel

    with torch.device("meta"):
        config = BertConfig(vocab_size=564, max_position_embeddings=64, type_vocab_size=1)
        model = BertModel(config, add_pooling_layer=False)
    assert PUBLISHED.parameters(564) == sum(p.numel() for p in model.parameters())


def command(folder: Path, out: Path, *extra: str) -> list[str]:
    source = table(folder / "strings.csv")
    shape = ["--layers", "1", "--hidden", "32", "--heads", "2", "--intermediate", "32"]
    recipe = folder / "recipe.yaml"
    recipe.write_text("batch: 32\nvalidate_every: 5\nwarmup: 3\n")
    return [
        *("-m", "cloudseed", "encoder", "pretrain", str(source), "--out", str(out), "--threads"),
        *("1", "--recipe", str(recipe), "--json", *shape, *extra),
    ]


@pytest.mark.slow
def test_a_kill_costs_only_the_steps_since_the_last_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    line = [sys.executable, *command(tmp_path, out, "--steps", "600")]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "training.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert CloudEncoder.load(out).dimension == 32
    kept = json.loads((out / "training.json").read_text())["outcome"]
    before = kept["step"]
    assert before % 5 == 0
    again = subprocess.run(
        [sys.executable, *command(tmp_path, out, "--steps", str(before + 10))],
        capture_output=True,
        check=True,
    )
    told = json.loads(again.stdout)
    assert told["step"] >= before + 10
    # Had it begun anew, it had spent no more time than these steps take, and written a first line.
    assert told["seconds"] > kept["seconds"]
    assert (out / "README.md").read_text().startswith("# encoder")
    steps = [row["step"] for row in log(out)]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_two_processes_train_one_encoder(tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run = subprocess.run(
        [sys.executable, *launch, *command(tmp_path, out, "--steps", "10")],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    told = json.loads(run.stdout)
    assert told["step"] == 10
    assert told["tokens"] > 12_000
    assert CloudEncoder.load(out).dimension == 32
