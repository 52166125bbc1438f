"""What was known, decided, sent and measured, in SQL; `protocols.py` tells this part."""

from cloudseed.db.ledger import SqlLedger, open_ledger
from cloudseed.db.protocols import (
    AmendmentRow,
    CampaignRow,
    CandidateRow,
    Claim,
    DecisionRow,
    EventRow,
    ExperimentRow,
    ExperimentState,
    Ledger,
    MeasurementRow,
    NewCandidate,
    NewDecision,
    NewExperiment,
    NewMeasurement,
    OutboxItem,
    ProposalRow,
)
from cloudseed.db.schema import SchemaState, check, upgrade

__all__ = [
    "AmendmentRow",
    "CampaignRow",
    "CandidateRow",
    "Claim",
    "DecisionRow",
    "EventRow",
    "ExperimentRow",
    "ExperimentState",
    "Ledger",
    "MeasurementRow",
    "NewCandidate",
    "NewDecision",
    "NewExperiment",
    "NewMeasurement",
    "OutboxItem",
    "ProposalRow",
    "SchemaState",
    "SqlLedger",
    "check",
    "open_ledger",
    "upgrade",
]
