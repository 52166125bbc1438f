"""The conformance kit: any lab, of this project or another's, held to the contract's promises."""

from cloudseed.lab_adapters.conformance.badge import badge
from cloudseed.lab_adapters.conformance.bench import Bench, Failed, NotApplicable
from cloudseed.lab_adapters.conformance.running import (
    CHECKS,
    CheckResult,
    Report,
    Verdict,
    run_checks,
)
from cloudseed.lab_adapters.conformance.settings import CheckSettings, read_check_file

__all__ = [
    "CHECKS",
    "Bench",
    "CheckResult",
    "CheckSettings",
    "Failed",
    "NotApplicable",
    "Report",
    "Verdict",
    "badge",
    "read_check_file",
    "run_checks",
]
