"""Crystals in, candidates out; `protocols.py` tells this part."""

from typing import TYPE_CHECKING

from cloudseed._lazily import lazily

if TYPE_CHECKING:
    from cloudseed.proposers._tables import permitted_elements
    from cloudseed.proposers.aliovalent import AliovalentSubstitution
    from cloudseed.proposers.evolution import Evolution
    from cloudseed.proposers.filters import AllowedElements
    from cloudseed.proposers.fixed import FixedList
    from cloudseed.proposers.generation import Generation, Kept, Origin, Quotas, generate
    from cloudseed.proposers.guarding import guarded
    from cloudseed.proposers.ionic import IonicSubstitution
    from cloudseed.proposers.neutrality import ChargeNeutrality
    from cloudseed.proposers.parents import ParentSet, Reading, load_parents, read_parents
    from cloudseed.proposers.partial import PartialSubstitution
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
    from cloudseed.proposers.provenance import settings_of
    from cloudseed.proposers.registry import available_proposers, load_proposer
    from cloudseed.proposers.screens import FILTERS, CellFilter, load_filter
    from cloudseed.proposers.similarity import SimilaritySubstitution
    from cloudseed.proposers.sources import is_path
    from cloudseed.proposers.substituting import Substituter
    from cloudseed.proposers.swaps import SiteSwap
    from cloudseed.proposers.volume import predict_volume
else:
    __getattr__ = lazily(
        __name__,
        {
            "_tables": "permitted_elements",
            "aliovalent": "AliovalentSubstitution",
            "evolution": "Evolution",
            "filters": "AllowedElements",
            "fixed": "FixedList",
            "generation": "Generation Kept Origin Quotas generate",
            "guarding": "guarded",
            "ionic": "IonicSubstitution",
            "neutrality": "ChargeNeutrality",
            "parents": "ParentSet Reading load_parents read_parents",
            "partial": "PartialSubstitution",
            "protocols": (
                "Batch BatchProposer Candidate CompositionFilter Filter FilterResult "
                "Judged Observation Observer Operation Parent ProposalContext Proposer "
                "Verdict"
            ),
            "prototypes": "prototype_parents",
            "provenance": "settings_of",
            "registry": "available_proposers load_proposer",
            "screens": "FILTERS CellFilter load_filter",
            "similarity": "SimilaritySubstitution",
            "sources": "is_path",
            "substituting": "Substituter",
            "swaps": "SiteSwap",
            "volume": "predict_volume",
        },
    )

__all__ = [
    "FILTERS",
    "AliovalentSubstitution",
    "AllowedElements",
    "Batch",
    "BatchProposer",
    "Candidate",
    "CellFilter",
    "ChargeNeutrality",
    "CompositionFilter",
    "Evolution",
    "Filter",
    "FilterResult",
    "FixedList",
    "Generation",
    "IonicSubstitution",
    "Judged",
    "Kept",
    "Observation",
    "Observer",
    "Operation",
    "Origin",
    "Parent",
    "ParentSet",
    "PartialSubstitution",
    "ProposalContext",
    "Proposer",
    "Quotas",
    "Reading",
    "SimilaritySubstitution",
    "SiteSwap",
    "Substituter",
    "Verdict",
    "available_proposers",
    "generate",
    "guarded",
    "is_path",
    "load_filter",
    "load_parents",
    "load_proposer",
    "permitted_elements",
    "predict_volume",
    "prototype_parents",
    "read_parents",
    "settings_of",
]
