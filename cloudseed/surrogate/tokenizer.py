"""From SCOPE strings to token numbers.

A checkpoint brings its own vocabulary, and one of two tokenizers reads it:

    PublishedTokenizer  the published checkpoint's: BERT's WordPiece over single characters, with
                        whole fractions as added tokens
    WholeTokenizer      this project's: every generator, Wyckoff symbol, element and fraction is one
                        token, so that carbon is not the matrix C, nor oxygen the translation O

Neither truncates nor puts a stand-in for what it does not know: both raise `ScopeError`.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Protocol

from cloudseed.crystal import multiplicities
from cloudseed.errors import EncoderError, ScopeError
from cloudseed.surrogate.scope import ELEMENTS, generators, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

__all__ = [
    "PublishedTokenizer",
    "ScopeTokenizer",
    "WholeTokenizer",
    "load_tokenizer",
    "whole_vocabulary",
]

SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
"""Special tokens, in the published order."""

WHOLE = "cloudseed.WholeTokenizer"
"""What `tokenizer_class` is called in the `tokenizer_config.json` of this project's checkpoints."""


class ScopeTokenizer(Protocol):
    """Turns SCOPE strings into token numbers.

    Attributes:
        vocabulary: Token -> number.
        limit: Most tokens of a string, [CLS] and [SEP] among them.
    """

    vocabulary: Mapping[str, int]
    limit: int

    def encode(self, strings: Sequence[str]) -> list[list[int]]:
        """Returns the token numbers of each string, [CLS] first and [SEP] last, not padded.

        Raises:
            ScopeError: If a string does not parse, is too long, or holds an unknown token.
        """
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that the numbers depend on."""
        ...


class WholeTokenizer:
    """One token for each generator, Wyckoff symbol, element and fraction.

    Args:
        tokens: The vocabulary, in order of the token numbers.
        limit: Most tokens of a string.
    """

    def __init__(self, tokens: Sequence[str], limit: int) -> None:
        self.vocabulary: Mapping[str, int] = {token: n for n, token in enumerate(tokens)}
        self.limit = limit
        missing = [token for token in (*SPECIAL, "|") if token not in self.vocabulary]
        if missing or len(self.vocabulary) != len(tokens):
            raise EncoderError(
                f"The vocabulary lacks {missing[0]}."
                if missing
                else "The vocabulary names a token twice.",
                hint="Use the vocab.txt that belongs to the checkpoint.",
            )

    def encode(self, strings: Sequence[str]) -> list[list[int]]:
        """Returns the token numbers of each string; see `ScopeTokenizer.encode`."""
        return [self._encode(string) for string in strings]

    def _encode(self, string: str) -> list[int]:
        parse(string)
        head, rest = string.split(" | ", 1)
        words = ["[CLS]", *_operations(head.replace(" ", "")), "|", *rest.split(" "), "[SEP]"]
        try:
            numbers = [self.vocabulary[word] for word in words]
        except KeyError as error:
            raise _unknown(error.args[0], string) from None
        _check_length(len(numbers), self.limit, string)
        return numbers

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the vocabulary."""
        return _sha([WHOLE, *self.vocabulary])


class PublishedTokenizer:
    """The published checkpoint's tokenizer: BERT's WordPiece, case kept, fractions added whole.

    Args:
        tokens: `vocab.txt`, in order.
        added: `added_tokens.json`: fraction -> number.
        limit: Most tokens of a string.
    """

    def __init__(self, tokens: Sequence[str], added: Mapping[str, int], limit: int) -> None:
        base = {token: n for n, token in enumerate(tokens)}
        self.vocabulary: Mapping[str, int] = {**base, **added}
        self.limit = limit
        missing = [token for token in SPECIAL if token not in base]
        if missing or sorted(self.vocabulary.values()) != list(range(len(self.vocabulary))):
            raise EncoderError(
                f"The vocabulary lacks {missing[0]}."
                if missing
                else "vocab.txt and added_tokens.json do not fit together.",
                hint="Use the files that belong to the checkpoint.",
            )
        self._tokenizer = _word_piece(base, added)
        self._unknown = base["[UNK]"]
        self._ends = base["[CLS]"], base["[SEP]"]

    def encode(self, strings: Sequence[str]) -> list[list[int]]:
        """Returns the token numbers of each string; see `ScopeTokenizer.encode`."""
        for string in strings:
            parse(string)
        encodings = self._tokenizer.encode_batch_fast(list(strings), add_special_tokens=False)
        start, end = self._ends
        rows = []
        for string, encoding in zip(strings, encodings, strict=True):
            if self._unknown in encoding.ids:
                raise _unknown(self._culprit(string), string)
            _check_length(len(encoding.ids) + 2, self.limit, string)
            rows.append([start, *encoding.ids, end])
        return rows

    def _culprit(self, string: str) -> str:
        encoding = self._tokenizer.encode(string, add_special_tokens=False)
        begin, end = encoding.offsets[encoding.ids.index(self._unknown)]
        return string[begin:end]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the vocabulary."""
        return _sha(["bert", *sorted(self.vocabulary, key=self.vocabulary.__getitem__)])


def whole_vocabulary() -> list[str]:
    """Returns the vocabulary of `WholeTokenizer`, made from tables alone.

    Special tokens and the bar; the parts of all generator strings; all Wyckoff symbols of all 230
    groups; all 118 elements; all fractions of two decimals.
    """
    operations = {part for text in generators().values() for part in _operations(text)}
    symbols = {
        (multiplicity, letter)
        for group in range(1, 231)
        for letter, multiplicity in multiplicities(group).items()
    }
    return [
        *SPECIAL,
        "|",
        *sorted(operations),
        *(f"{multiplicity}{letter}" for multiplicity, letter in sorted(symbols)),
        *ELEMENTS,
        *(str(n / 100) for n in range(101)),
    ]


def load_tokenizer(folder: Path, limit: int) -> ScopeTokenizer:
    """Reads the tokenizer of a checkpoint's folder.

    Args:
        folder: Holds `vocab.txt` and `tokenizer_config.json`, and for the published layout
            `added_tokens.json`.
        limit: Most tokens of a string, from the model's configuration.

    Raises:
        EncoderError: If a file is missing, broken, or does not fit the others.
    """
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        tokens = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        kind = str(config.get("tokenizer_class"))
        if kind == WHOLE:
            return WholeTokenizer(tokens, limit)
        added = json.loads((folder / "added_tokens.json").read_text(encoding="utf-8"))
        numbers = {str(token): int(number) for token, number in added.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise EncoderError(
            f"The tokenizer of {folder.name} cannot be read: {error}.",
            hint="The folder needs vocab.txt, tokenizer_config.json and, in the published layout,"
            " added_tokens.json.",
            path=str(folder),
        ) from error
    if not kind.startswith("BertTokenizer") or config.get("do_lower_case", True):
        raise EncoderError(
            f"{folder.name} does not hold a SCOPE tokenizer.",
            hint="The published one is a BertTokenizer with do_lower_case false.",
            path=str(folder),
        )
    longest = int(config.get("model_max_length", limit))
    return PublishedTokenizer(tokens, numbers, min(limit, longest))


def _word_piece(base: dict[str, int], added: Mapping[str, int]) -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(base, unk_token="[UNK]"))  # noqa: S106 (no password)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token) for token in sorted(added, key=added.__getitem__)])
    if any(tokenizer.token_to_id(token) != number for token, number in added.items()):
        raise EncoderError(
            "vocab.txt and added_tokens.json do not fit together.",
            hint="Use the files that belong to the checkpoint.",
        )
    return tokenizer


def _operations(text: str) -> list[str]:
    """Splits a generator string: inversion and count; each matrix with its translation; origin.

    Examples:
        >>> _operations("14bOOOcOOOdOOOeOOO0")
        ['g:14', 'g:bOOO', 'g:cOOO', 'g:dOOO', 'g:eOOO', 'g:+0']
    """
    end = 2 + 4 * int(text[1])
    matrices = [text[i : i + 4] for i in range(2, end, 4)]
    return [f"g:{text[:2]}", *(f"g:{matrix}" for matrix in matrices), f"g:+{text[end:]}"]


def _check_length(length: int, limit: int, string: str) -> None:
    if length > limit:
        raise ScopeError(
            f"A SCOPE string has {length} tokens; the encoder reads at most {limit}.",
            hint="Leave this structure out, or use an encoder that reads longer strings.",
            token=string,
        )


def _unknown(token: str, string: str) -> ScopeError:
    return ScopeError(
        f"The encoder does not know the token {token!r}.",
        hint="Its vocabulary lacks it; the shipped encoder knows every element.",
        token=token,
        string=string,
    )


def _sha(tokens: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(tokens).encode()).hexdigest()
