"""Crystals in, candidates out; `protocols.py` tells this part."""

from cloudseed.proposers._tables import permitted_elements
from cloudseed.proposers.filters import AllowedElements
from cloudseed.proposers.generation import Generation, Kept, Origin, Quotas, generate
from cloudseed.proposers.ionic import IonicSubstitution
from cloudseed.proposers.neutrality import ChargeNeutrality
from cloudseed.proposers.parents import load_parents
from cloudseed.proposers.protocols import (
    Batch,
    BatchProposer,
    Candidate,
    CompositionFilter,
    Filter,
    FilterResult,
    Judged,
    Observation,
    Observer,
    Operation,
    Parent,
    ProposalContext,
    Proposer,
    Verdict,
)
from cloudseed.proposers.prototypes import prototype_parents
from cloudseed.proposers.registry import load_proposer
from cloudseed.proposers.volume import predict_volume

__all__ = [
    "AllowedElements",
    "Batch",
    "BatchProposer",
    "Candidate",
    "ChargeNeutrality",
    "CompositionFilter",
    "Filter",
    "FilterResult",
    "Generation",
    "IonicSubstitution",
    "Judged",
    "Kept",
    "Observation",
    "Observer",
    "Operation",
    "Origin",
    "Parent",
    "ProposalContext",
    "Proposer",
    "Quotas",
    "Verdict",
    "generate",
    "load_parents",
    "load_proposer",
    "permitted_elements",
    "predict_volume",
    "prototype_parents",
]
