"""Model cards: what an encoder is and how it was made, from what its checkpoint tells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudseed.surrogate.checkpoint import open_checkpoint
from cloudseed.surrogate.encoder import CloudEncoder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["facts", "write_card"]

_SPLITS = (
    "By composition, the same for every table, dialect and setting: pre-training leaves out a"
    " fiftieth of the compositions; labels of a tenth are never looked at, and those of another"
    " tenth tell which step was best."
)
_LIMITS = (
    "It reads which elements sit on which Wyckoff positions, not free coordinates, lattice or"
    " magnetism. Elements and space groups that its data lack are known from the periodic table and"
    " the tokens alone. `cloudseed encoder evaluate` tells what can be read from it on your own"
    " materials."
)


def facts(source: str | Path) -> dict[str, Any]:
    """Returns what is known of an encoder, as JSON values: its own facts and its training's.

    Raises:
        EncoderError: If it cannot be loaded.
    """
    encoder = CloudEncoder.load(source)
    checkpoint = open_checkpoint(source)
    folder, config = checkpoint.folder, checkpoint.bert
    known: dict[str, Any] = {
        "name": encoder.name,
        "id": encoder.id,
        "sha256": encoder.sha256,
        "dialect": encoder.dialect,
        "pooling": encoder.pooling,
        "dimension": encoder.dimension,
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "intermediate": config["intermediate_size"],
        "vocabulary": config["vocab_size"],
        "limit": config["max_position_embeddings"],
        "bytes": (folder / "model.safetensors").stat().st_size,
    }
    training = folder / "training.json"
    if training.exists():
        known["training"] = json.loads(training.read_text(encoding="utf-8"))
    return known


def write_card(folder: Path, command: str) -> Path:
    """Writes the README.md of a checkpoint that was trained here.

    Args:
        folder: The checkpoint.
        command: The command that made it.

    Returns:
        The file.
    """
    path = folder / "README.md"
    path.write_text(_text(facts(folder), command), encoding="utf-8")
    return path


def _text(known: dict[str, Any], command: str) -> str:
    training = known.get("training", {})
    outcome, recipe = training.get("outcome", {}), training.get("recipe", {})
    return "\n".join(
        [
            f"# {known['name'].rstrip('/').rpartition('/')[2]}",
            "",
            (
                f"A CLOUD encoder: reads SCOPE strings of the `{known['dialect']}` dialect, gives"
                f" {known['dimension']} numbers."
            ),
            "",
            *_table(known, training, outcome),
            "",
            "Made by:",
            "",
            f"    {command}",
            "",
            (
                f"Recipe: {', '.join(f'{k} {v}' for k, v in recipe.items() if k != 'shape')}."
                if recipe
                else ""
            ),
            "",
            "## Splits and losses",
            "",
            _SPLITS,
            "",
            f"Losses on the validation split at step {outcome.get('best_step')}, which was kept:",
            "",
            "| loss | value |",
            "| --- | --- |",
            *(f"| {name} | {value:.4f} |" for name, value in outcome.get("validation", {}).items()),
            "",
            "## Data",
            "",
            *(f"- {name}: {value}" for name, value in training.get("data", {}).items()),
            "",
            "## Limits",
            "",
            _LIMITS,
            "",
        ]
    )


def _table(known: dict[str, Any], training: dict[str, Any], outcome: dict[str, Any]) -> list[str]:
    labels = ", ".join(training.get("labels", ())) or "none"
    seconds, tokens = outcome.get("seconds", 0), outcome.get("tokens", 0)
    rows = {
        "shape": (
            f"{known['layers']} layers, {known['dimension']} wide, {known['heads']} heads,"
            f" feed-forward {known['intermediate']}, at most {known['limit']} tokens"
        ),
        "pooling": known["pooling"],
        "weights": f"{known['bytes']:,} bytes, SHA-256 `{known['sha256']}`",
        "id": f"`{known['id']}`",
        "made by": training.get("kind", "unknown"),
        "labels": labels,
        "steps": f"{outcome.get('step', 'unknown')}, ended by: {outcome.get('stopped') or 'none'}",
        "tokens read": f"{tokens:,} in {seconds:,.0f} s",
    }
    return ["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows.items())]
