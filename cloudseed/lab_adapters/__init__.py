"""A choice in, measurements out; `protocols.py` tells this part."""

from cloudseed.lab_adapters.protocols import (
    DeliveryClass,
    ExperimentRequest,
    LabAdapter,
    LabDescription,
    LabMessage,
    Measurement,
    Outcome,
    OutcomeKind,
    Validation,
)
from cloudseed.lab_adapters.registry import available_labs, load_lab

__all__ = [
    "DeliveryClass",
    "ExperimentRequest",
    "LabAdapter",
    "LabDescription",
    "LabMessage",
    "Measurement",
    "Outcome",
    "OutcomeKind",
    "Validation",
    "available_labs",
    "load_lab",
]
