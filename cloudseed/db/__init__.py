"""What was known, decided, sent and measured, in SQL.

`protocols.py` tells this part; `rows.py` and `states.py` have what goes in and comes out.
"""

from cloudseed.db.backups import Backup, backup
from cloudseed.db.ledger import SqlLedger, open_ledger
from cloudseed.db.protocols import Ledger
from cloudseed.db.rows import (
    PERSON,
    AmendmentRow,
    CampaignRow,
    CandidateRow,
    Claim,
    DecisionRow,
    EventRow,
    ExperimentRow,
    LabHealthRow,
    LeaseRow,
    MeasurementRow,
    NewCandidate,
    NewCharge,
    NewDecision,
    NewExperiment,
    NewMeasurement,
    OutboxItem,
    Overview,
    ProposalRow,
    SendingRow,
    Spending,
)
from cloudseed.db.schema import SchemaState, check, rehearse, upgrade
from cloudseed.db.states import ExperimentState, Wish

__all__ = [
    "PERSON",
    "AmendmentRow",
    "Backup",
    "CampaignRow",
    "CandidateRow",
    "Claim",
    "DecisionRow",
    "EventRow",
    "ExperimentRow",
    "ExperimentState",
    "LabHealthRow",
    "LeaseRow",
    "Ledger",
    "MeasurementRow",
    "NewCandidate",
    "NewCharge",
    "NewDecision",
    "NewExperiment",
    "NewMeasurement",
    "OutboxItem",
    "Overview",
    "ProposalRow",
    "SchemaState",
    "SendingRow",
    "Spending",
    "SqlLedger",
    "Wish",
    "backup",
    "check",
    "open_ledger",
    "rehearse",
    "upgrade",
]
