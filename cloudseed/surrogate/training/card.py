"""Model cards: what an encoder is and how it was made, from what its checkpoint tells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudseed.surrogate.checkpoint import open_checkpoint
from cloudseed.surrogate.encoder import CloudEncoder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["facts", "write_card"]


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
    outcome = training.get("outcome", {})
    lines = [
        f"# {known['name'].rstrip('/').rpartition('/')[2]}",
        "",
        (
            f"A CLOUD encoder: reads SCOPE strings of the `{known['dialect']}` dialect, gives"
            f" {known['dimension']} numbers."
        ),
        "",
        "| | |",
        "| --- | --- |",
        (
            f"| shape | {known['layers']} layers, {known['dimension']} wide,"
            f" {known['heads']} heads,"
            f" feed-forward {known['intermediate']}, at most {known['limit']} tokens |"
        ),
        f"| pooling | {known['pooling']} |",
        f"| weights | {known['bytes']:,} bytes |",
        f"| id | `{known['id']}` |",
        f"| made by | {training.get('kind', 'unknown')} |",
        f"| steps | {outcome.get('step', 'unknown')}, best at {outcome.get('best_step')} |",
        f"| tokens read | {outcome.get('tokens', 0):,} in {outcome.get('seconds', 0):,.0f} s |",
        "",
        "Made by:",
        "",
        f"    {command}",
        "",
        "Losses on compositions that were not trained on, at the step that was kept:",
        "",
        "| loss | value |",
        "| --- | --- |",
        *(f"| {name} | {value:.4f} |" for name, value in outcome.get("validation", {}).items()),
        "",
        "Data, name and SHA-256:",
        "",
        *(f"- {name}: {value}" for name, value in training.get("data", {}).items()),
        "",
    ]
    return "\n".join(lines)
