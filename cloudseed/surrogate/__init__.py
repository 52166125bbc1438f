"""Candidates and data in, a ranked choice out; `protocols.py` tells this part.

torch, transformers and BoTorch load when an encoder or a model is first used.
"""

from cloudseed.surrogate.calibration import ALARM_LEAST, ranks_worse_than_random
from cloudseed.surrogate.deciding import decide, decision_seed, space_fill, start
from cloudseed.surrogate.embedding_store import EmbeddingStore
from cloudseed.surrogate.encoder import CloudEncoder, shipped_encoders
from cloudseed.surrogate.fidelities import fit_fidelities
from cloudseed.surrogate.judging import best_so_far, is_feasible, merit, shown
from cloudseed.surrogate.modelling import wants_hints
from cloudseed.surrogate.objectives import describe
from cloudseed.surrogate.objectives import problem as parse_problem
from cloudseed.surrogate.outlook import expected_hits, probability_of_best
from cloudseed.surrogate.prediction import NEEDS_ATOMS, Prediction, Predictor, guess
from cloudseed.surrogate.prediction import resolve as resolve_property
from cloudseed.surrogate.protocols import (
    Choice,
    Constraint,
    Encoder,
    Guess,
    ModelKind,
    ModelSettings,
    Objective,
    Observations,
    Problem,
    Scores,
)
from cloudseed.surrogate.random_search import RandomCurve, exact_random_best, expected_random_best
from cloudseed.surrogate.ranking import OrderBy, Ranking, rank
from cloudseed.surrogate.scope import Scope, full_string, scope_string
from cloudseed.surrogate.scope import parse as parse_scope
from cloudseed.surrogate.valence import shell_penalties

__all__ = [
    "ALARM_LEAST",
    "NEEDS_ATOMS",
    "Choice",
    "CloudEncoder",
    "Constraint",
    "EmbeddingStore",
    "Encoder",
    "Guess",
    "ModelKind",
    "ModelSettings",
    "Objective",
    "Observations",
    "OrderBy",
    "Prediction",
    "Predictor",
    "Problem",
    "RandomCurve",
    "Ranking",
    "Scope",
    "Scores",
    "best_so_far",
    "decide",
    "decision_seed",
    "describe",
    "exact_random_best",
    "expected_hits",
    "expected_random_best",
    "fit_fidelities",
    "full_string",
    "guess",
    "is_feasible",
    "merit",
    "parse_problem",
    "parse_scope",
    "probability_of_best",
    "rank",
    "ranks_worse_than_random",
    "resolve_property",
    "scope_string",
    "shell_penalties",
    "shipped_encoders",
    "shown",
    "space_fill",
    "start",
    "wants_hints",
]
