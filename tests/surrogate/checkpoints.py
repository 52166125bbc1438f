"""Checkpoints of the published layout, made by the tests."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM

from cloudseed.crystal import multiplicities
from cloudseed.surrogate.scope import ELEMENTS

SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
FRACTIONS = [str(n / 100) for n in range(101)]


def published_vocabulary(size: int = 463) -> list[str]:
    """As the published one is built: special tokens, characters, pieces, then whole words."""
    digits, upper = "0123456789", "ABCDEFGHIKLMNOPRSTUVWXYZ"
    lower = "abcdefghijklmnopqrstuvwxyz"
    pieces = [f"##{c}" for c in f"{digits}{lower}Axwz"]
    symbols = {f"{m}{x}" for g in range(1, 231) for x, m in multiplicities(g).items()}
    elements = [e for e in ELEMENTS[:98] if len(e) == 2 and e not in {"At", "Fr"}]
    words = [*elements, *sorted(symbols), *(f"{n:02}" for n in range(100))]
    tokens = [*SPECIAL, ".", *digits, *upper, *lower, "|", *pieces, *words]
    assert len(set(tokens)) > size
    return list(dict.fromkeys(tokens))[:size]


def write_published(
    folder: Path,
    *,
    layers: int = 12,
    hidden: int = 768,
    prefix: str = "bert.",
    rows: int | None = None,
) -> Path:
    """Writes a BertForMaskedLM checkpoint with random weights, 463 + 101 tokens.

    Its word table has a row per token, or `rows`; the published one has 30,522.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokens = published_vocabulary()
    added = {fraction: len(tokens) + i for i, fraction in enumerate(FRACTIONS)}
    config = BertConfig(
        vocab_size=rows or len(tokens) + len(added),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
        max_position_embeddings=64,
        type_vocab_size=1,
    )
    torch.manual_seed(0)
    model = BertForMaskedLM(config)
    weights = {
        name if prefix else name.removeprefix("bert."): value.contiguous()
        for name, value in model.state_dict().items()
        if prefix or name.startswith("bert.")
    }
    weights.pop("cls.predictions.decoder.weight", None)
    weights.pop("cls.predictions.decoder.bias", None)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    write_tokenizer(folder, tokens, added)
    return folder


def write_tokenizer(folder: Path, tokens: list[str], added: dict[str, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    (folder / "added_tokens.json").write_text(json.dumps(added))
    names = {f"{token[1:-1].lower()}_token": token for token in SPECIAL}
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    decoder = {
        number: {
            "content": token,
            "lstrip": False,
            "normalized": number >= len(SPECIAL),
            "rstrip": False,
            "single_word": False,
            "special": number < len(SPECIAL),
        }
        for token, number in {**{t: i for i, t in enumerate(SPECIAL)}, **added}.items()
    }
    settings = names | {
        "added_tokens_decoder": decoder,
        "do_basic_tokenize": True,
        "do_lower_case": False,
        "model_max_length": 10**30,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "tokenizer_class": "BertTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
