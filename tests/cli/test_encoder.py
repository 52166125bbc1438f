import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from cloudseed.cli.app import app
from cloudseed.errors import CloudseedError, InputError, SpecError, UsageError
from tests.surrogate.training.kit import STRINGS, labels, table

runner = CliRunner()
SHAPE = ["--layers", "1", "--hidden", "32", "--heads", "2", "--intermediate", "32"]


def run(*arguments: object) -> str:
    result = runner.invoke(app, [str(a) for a in arguments], catch_exceptions=True)
    if isinstance(result.exception, CloudseedError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_from_strings_to_a_judged_encoder(tmp_path: Path) -> None:
    source = table(tmp_path / "strings.csv")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("batch: 32\nvalidate_every: 5\nwarmup: 2\n")
    first = tmp_path / "first"
    options = ["--recipe", recipe, "--threads", "1", "--json"]
    told = json.loads(
        run("encoder", "pretrain", source, "--out", first, "--steps", "10", *SHAPE, *options)
    )
    assert (told["step"], told["stopped"]) == (10, "steps")
    assert told["tokens_per_second"] > 0
    known = json.loads(run("encoder", "card", first, "--json"))
    assert known["dimension"] == 32
    assert "pretrain" in (first / "README.md").read_text()
    measured = table(tmp_path / "gaps.csv", gap=labels())
    second = tmp_path / "second"
    told = json.loads(
        run(
            *("encoder", "finetune", first, measured, "--label", "band_gap=gap", "--out", second),
            *("--rehearse", first / "data", "--steps", "10", *options),
        )
    )
    assert told["step"] == 10
    card = json.loads(run("encoder", "card", second, "--json"))
    assert card["training"]["labels"] == ["band_gap"]
    assert card["training"]["before"]["kind"] == "pretraining"
    assert card["id"] != known["id"]
    judged = json.loads(
        run("encoder", "evaluate", second, measured, "--label", "band_gap=gap", "--json")
    )
    assert judged["strings"] == len(STRINGS)
    assert [probe["name"] for probe in judged["probes"]] == ["band_gap"]
    assert judged["targets"]["fractions"] > 0.2
    shown = run("encoder", "evaluate", second, measured, "--label", "band_gap=gap")
    assert "band gap" in shown
    assert "eV" in shown


def test_the_shipped_card_can_be_read() -> None:
    assert "cloud-small" in run("encoder", "card", "cloud-small")


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["pretrain", "none.csv", "--out", "x"], InputError, "Parquet"),
        (["pretrain", "s.csv", "--out", "x", "--recipe", "bad.yaml"], SpecError, "'steps'"),
        (["finetune", "cloud-small", "s.csv", "--out", "x", "--label", "=a"], UsageError, "COLUMN"),
        (["finetune", "cloud-small", "s.csv", "--out", "x", "--label", "gap"], InputError, "scope"),
        (
            ["finetune", "cloud-small", "s.csv", "--out", "x", "--label", "a", "--rehearse", "."],
            InputError,
            "pretrain",
        ),
        (["evaluate", "cloud-small", "few.csv"], InputError, "50"),
    ],
)
def test_bad_input(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    error: type[CloudseedError],
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "s.csv")
    pd.DataFrame({"scope": STRINGS[:10]}).to_csv("few.csv", index=False)
    (tmp_path / "bad.yaml").write_text("stepss: 3\n")
    with pytest.raises(error) as caught:
        run("encoder", *arguments)
    assert hint in caught.value.hint
    assert not (tmp_path / "x" / "model.safetensors").exists()
