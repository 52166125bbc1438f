"""Properties from strings: ready heads on an encoder, Debye's model, and whole-network training.

    Predictor          a property of any crystal, with uncertainty and a flag
    fit_heads          trains heads on an encoder's frozen embeddings
    finetune_property  trains the whole network on one property

torch loads when a predictor is first used; `debye` and `finetuning` are modules of their own.
"""

from cloudseed.surrogate.prediction.fitting import LINKS, PropertyTable, fit_heads
from cloudseed.surrogate.prediction.guessing import check_heads, guess
from cloudseed.surrogate.prediction.heads import Head
from cloudseed.surrogate.prediction.predictor import (
    NEEDS_ATOMS,
    ROOM,
    Prediction,
    Predictor,
    resolve,
    temperatures_of,
)

__all__ = [
    "LINKS",
    "NEEDS_ATOMS",
    "ROOM",
    "Head",
    "Prediction",
    "Predictor",
    "PropertyTable",
    "check_heads",
    "fit_heads",
    "guess",
    "resolve",
    "temperatures_of",
]
