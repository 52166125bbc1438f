"""Candidates and data in, a ranked choice out; `protocols.py` tells this part.

torch, transformers and BoTorch load when an encoder or a model is first used.
"""

from typing import TYPE_CHECKING

from cloudseed._lazily import lazily

if TYPE_CHECKING:
    from cloudseed.surrogate.calibration import (
        ALARM_LEAST,
        RECALIBRATION_LEAST,
        coverage90,
        noise_sds,
        ranks_worse_than_random,
        recalibration,
    )
    from cloudseed.surrogate.costs import experiment_costs
    from cloudseed.surrogate.deciding import decide, decision_seed, space_fill, start
    from cloudseed.surrogate.descriptors import element_descriptors
    from cloudseed.surrogate.embedding_store import EmbeddingStore
    from cloudseed.surrogate.encoder import CloudEncoder, shipped_encoders
    from cloudseed.surrogate.features import BLOCKS, Block, Features
    from cloudseed.surrogate.fidelities import fit_fidelities
    from cloudseed.surrogate.formulas import with_derived
    from cloudseed.surrogate.judging import (
        as_optimum,
        best_so_far,
        bounded,
        fronts_away,
        is_feasible,
        merit,
        on_front,
        shown,
        with_reference,
    )
    from cloudseed.surrogate.kernels import Kernel
    from cloudseed.surrogate.memory import Memory
    from cloudseed.surrogate.modelling import wants_hints
    from cloudseed.surrogate.objectives import describe
    from cloudseed.surrogate.objectives import problem as parse_problem
    from cloudseed.surrogate.outlook import (
        Looked,
        expected_hits,
        knows_the_best,
        mended_hits,
        probability_of_best,
    )
    from cloudseed.surrogate.prediction import (
        NEEDS_ATOMS,
        Prediction,
        Predictor,
        check_heads,
        guess,
    )
    from cloudseed.surrogate.prediction import resolve as resolve_property
    from cloudseed.surrogate.protocols import (
        CheapSource,
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
    from cloudseed.surrogate.random_search import (
        RandomCurve,
        exact_random_best,
        expected_random_best,
    )
    from cloudseed.surrogate.ranking import OrderBy, Ranking, rank
    from cloudseed.surrogate.scope import Scope, full_string, scope_string
    from cloudseed.surrogate.scope import parse as parse_scope
    from cloudseed.surrogate.site_roles import site_descriptors
    from cloudseed.surrogate.strategy import EXPLORED, AcquisitionName, Strategy
    from cloudseed.surrogate.valence import shell_penalties
else:
    __getattr__ = lazily(
        __name__,
        {
            "calibration": (
                "ALARM_LEAST RECALIBRATION_LEAST coverage90 noise_sds "
                "ranks_worse_than_random recalibration"
            ),
            "costs": "experiment_costs",
            "deciding": "decide decision_seed space_fill start",
            "descriptors": "element_descriptors",
            "site_roles": "site_descriptors",
            "embedding_store": "EmbeddingStore",
            "encoder": "CloudEncoder shipped_encoders",
            "features": "BLOCKS Block Features",
            "fidelities": "fit_fidelities",
            "formulas": "with_derived",
            "judging": (
                "as_optimum best_so_far bounded fronts_away is_feasible merit on_front "
                "shown with_reference"
            ),
            "kernels": "Kernel",
            "memory": "Memory",
            "modelling": "wants_hints",
            "objectives": "describe problem=parse_problem",
            "outlook": "Looked expected_hits knows_the_best mended_hits probability_of_best",
            "prediction": (
                "NEEDS_ATOMS Prediction Predictor check_heads guess resolve=resolve_property"
            ),
            "protocols": (
                "CheapSource Choice Constraint Encoder Guess ModelKind ModelSettings Objective "
                "Observations Problem Scores"
            ),
            "random_search": "RandomCurve exact_random_best expected_random_best",
            "ranking": "OrderBy Ranking rank",
            "scope": "Scope full_string scope_string parse=parse_scope",
            "strategy": "EXPLORED AcquisitionName Strategy",
            "valence": "shell_penalties",
        },
    )

__all__ = [
    "ALARM_LEAST",
    "BLOCKS",
    "EXPLORED",
    "NEEDS_ATOMS",
    "RECALIBRATION_LEAST",
    "AcquisitionName",
    "Block",
    "CheapSource",
    "Choice",
    "CloudEncoder",
    "Constraint",
    "EmbeddingStore",
    "Encoder",
    "Features",
    "Guess",
    "Kernel",
    "Looked",
    "Memory",
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
    "Strategy",
    "as_optimum",
    "best_so_far",
    "bounded",
    "check_heads",
    "coverage90",
    "decide",
    "decision_seed",
    "describe",
    "element_descriptors",
    "exact_random_best",
    "expected_hits",
    "expected_random_best",
    "experiment_costs",
    "fit_fidelities",
    "fronts_away",
    "full_string",
    "guess",
    "is_feasible",
    "knows_the_best",
    "mended_hits",
    "merit",
    "noise_sds",
    "on_front",
    "parse_problem",
    "parse_scope",
    "probability_of_best",
    "rank",
    "ranks_worse_than_random",
    "recalibration",
    "resolve_property",
    "scope_string",
    "shell_penalties",
    "shipped_encoders",
    "shown",
    "site_descriptors",
    "space_fill",
    "start",
    "wants_hints",
    "with_derived",
    "with_reference",
]
