"""What can be read from frozen embeddings by a straight line: a fair look at any encoder.

Ridge regression, five folds by composition, the penalty chosen by generalised cross-validation
(Golub, Heath & Wahba, Technometrics 21, 215 (1979)). The same is done with atomic fractions alone,
so that one sees what the encoder adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.scope import ELEMENTS, parse
from cloudseed.surrogate.splits import folds, is_held_out
from cloudseed.surrogate.training.lexicon import Lexicon, pad
from cloudseed.surrogate.training.targets import blocks, describe

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["Probe", "composition_features", "probe", "probe_targets"]

_FOLDS = 5
_PENALTIES = np.logspace(-6, 3, 19)
_FEWEST = 20
_NEVER_SCORED = -1


@dataclass(frozen=True, slots=True)
class Probe:
    """How well one quantity is read.

    Attributes:
        name: The quantity.
        count: Strings that were scored.
        r2: Share of its variance that is explained, on folds not trained on.
        mae: Mean absolute error there, in its own unit.
        composition_r2: R2 from atomic fractions alone.
        spread: Mean absolute deviation from the mean, in its own unit: the error of no model.
        seen: Whether the encoder was trained on this label. Then only the tenth of the compositions
            that all training leaves out (`splits.is_held_out`) is scored.
    """

    name: str
    count: int
    r2: float
    mae: float
    composition_r2: float
    spread: float
    seen: bool = False


def probe(
    embeddings: npt.NDArray[np.float32],
    strings: Sequence[str],
    values: Mapping[str, npt.NDArray[np.float64]],
    seen: Collection[str] = (),
) -> list[Probe]:
    """Probes labels, n each with NaN; those of fewer than 20 scored strings are left out.

    Args:
        embeddings: Frozen embeddings, n x d.
        strings: Their SCOPE strings, n.
        values: Label -> values, n each.
        seen: Labels that the encoder was trained on.
    """
    composition = composition_features(strings)
    found = []
    for name, column in values.items():
        known = np.flatnonzero(np.isfinite(column))
        if len(known) < _FEWEST:
            continue
        texts = [strings[i] for i in known.tolist()]
        deal = folds(texts, _FOLDS)
        if name in seen:
            deal = np.where([is_held_out(text) for text in texts], 0, _NEVER_SCORED)
        scored = deal != _NEVER_SCORED
        if scored.sum() < _FEWEST:
            continue
        true = np.asarray(column[known], dtype=np.float64)
        guessed = _crossed(np.asarray(embeddings[known], dtype=np.float64), true, deal)[scored]
        plain = _crossed(composition[known], true, deal)[scored]
        true = true[scored]
        found.append(
            Probe(
                name=name,
                seen=name in seen,
                count=len(true),
                r2=_r2(true, guessed),
                mae=float(np.abs(true - guessed).mean()),
                composition_r2=_r2(true, plain),
                spread=float(np.abs(true - true.mean()).mean()),
            )
        )
    return found


def probe_targets(
    embeddings: npt.NDArray[np.float32], strings: Sequence[str], limit: int = 64
) -> dict[str, float]:
    """Returns the mean R2 of each block of physics-informed targets that vary."""
    lexicon = Lexicon(limit)
    targets = describe(pad(lexicon.tokenizer.encode(list(strings))), lexicon).astype(np.float64)
    deal = folds(strings, _FOLDS)
    found = {}
    for name, part in blocks().items():
        scores = []
        for column in targets[:, part].T:
            known = np.flatnonzero(np.isfinite(column))
            if len(known) >= _FEWEST and np.std(column[known]) > 1e-6:
                features = np.asarray(embeddings[known], dtype=np.float64)
                scores.append(_r2(column[known], _crossed(features, column[known], deal[known])))
        if scores:
            found[name] = float(np.mean(scores))
    return found


def composition_features(strings: Sequence[str]) -> Array:
    """Returns atomic fractions, n x 118."""
    table = np.zeros((len(strings), len(ELEMENTS)))
    for row, text in enumerate(strings):
        for element, fraction in parse(text).composition:
            table[row, ELEMENTS.index(element)] = fraction
    return table


def _crossed(features: Array, values: Array, deal: npt.NDArray[np.int64]) -> Array:
    guessed = np.full(len(values), values.mean())
    for number in range(_FOLDS):
        test = deal == number
        if test.any() and not test.all():
            guessed[test] = _ridge(features[~test], values[~test], features[test])
    return guessed


def _ridge(features: Array, values: Array, wanted: Array) -> Array:
    centre, mean = features.mean(axis=0), values.mean()
    scale = np.sqrt(((features - centre) ** 2).sum(axis=1).mean()) or 1.0
    left, singular, right = np.linalg.svd((features - centre) / scale, full_matrices=False)
    projected = left.T @ (values - mean)
    n = len(values)
    best, weights = np.inf, np.zeros(len(singular))
    for penalty in _PENALTIES * n / len(singular):
        shrink = singular**2 / (singular**2 + penalty)
        rest = ((values - mean) ** 2).sum() - ((2 * shrink - shrink**2) * projected**2).sum()
        score = rest / (1 - shrink.sum() / n) ** 2
        if score < best:
            best, weights = score, singular / (singular**2 + penalty) * projected
    return np.asarray(mean + ((wanted - centre) / scale) @ (right.T @ weights))


def _r2(true: Array, guessed: Array) -> float:
    spread = float(((true - true.mean()) ** 2).sum())
    return 1 - float(((true - guessed) ** 2).sum()) / spread if spread > 0 else float("nan")
