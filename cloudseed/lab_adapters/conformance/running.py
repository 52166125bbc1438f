"""Runs the checks and keeps the verdicts."""

from __future__ import annotations

import inspect
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudseed import __version__
from cloudseed.errors import CloudseedError
from cloudseed.lab_adapters.conformance import delivery, promises
from cloudseed.lab_adapters.conformance.bench import Bench, Failed, NotApplicable

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudseed.lab_adapters.conformance.settings import CheckSettings

__all__ = ["CHECKS", "CheckResult", "Report", "Verdict", "run_checks"]

CHECKS: tuple[Callable[[Bench], None], ...] = (
    promises.description,
    promises.health,
    promises.validation,
    promises.limits,
    promises.recipes,
    delivery.idempotency,
    promises.capability,
    promises.units,
    promises.clock,
    delivery.repeats,
    delivery.reconciling,
    delivery.events,
    delivery.restart,
    delivery.crash,
    delivery.cancelling,
    delivery.stopping,
)
"""Every check, in order: what leaves a trace comes after what must not, the stop comes last."""


class Verdict(StrEnum):
    """Kept, broken, or not promised."""

    PASS = "pass"  # noqa: S105  a verdict
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The verdict on one promise.

    Attributes:
        name: The check.
        promise: What was held against the lab, one sentence.
        verdict: Whether it keeps it.
        reason: Why not, or why it does not apply.
        seconds: How long it took.
    """

    name: str
    promise: str
    verdict: Verdict
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """The verdicts on a lab.

    Attributes:
        adapter: The adapter's name.
        results: One per check, in order.
        at: When, UTC.
    """

    adapter: str
    results: tuple[CheckResult, ...]
    at: datetime

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(r.verdict is not Verdict.FAIL for r in self.results)

    def count(self, verdict: Verdict) -> int:
        """Returns how many checks ended so."""
        return sum(r.verdict is verdict for r in self.results)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {
            "adapter": self.adapter,
            "cloudseed": __version__,
            "at": self.at.isoformat(timespec="seconds"),
            "passed": self.passed,
            "checks": [asdict(r) | {"verdict": r.verdict.value} for r in self.results],
        }


def run_checks(
    adapter: str,
    settings: CheckSettings,
    *,
    folder: Path | None = None,
    only: frozenset[str] = frozenset(),
    tell: Callable[[CheckResult], None] | None = None,
) -> Report:
    """Holds a lab to its promises.

    Args:
        adapter: An adapter's name, or "module:Class".
        settings: What its integrator told.
        folder: An empty folder to work in; by default one that is removed afterwards.
        only: Names of checks to run; empty for all.
        tell: Called after each check.

    Raises:
        UsageError: If there is no such adapter, or its settings are wrong.
    """
    with tempfile.TemporaryDirectory(prefix="cloudseed-lab-") as aside:
        results = []
        with Bench(adapter, settings, folder or Path(aside)) as bench:
            _ = bench.lab
            for check in CHECKS:
                if only and check.__name__ not in only:
                    continue
                result = _run(check, bench)
                results.append(result)
                if tell is not None:
                    tell(result)
    return Report(adapter, tuple(results), datetime.now(UTC))


def _run(check: Callable[[Bench], None], bench: Bench) -> CheckResult:
    began = time.monotonic()
    verdict, reason = Verdict.PASS, ""
    try:
        check(bench)
    except NotApplicable as why:
        verdict, reason = Verdict.NOT_APPLICABLE, str(why)
    except Failed as why:
        verdict, reason = Verdict.FAIL, str(why)
    except CloudseedError as error:
        verdict, reason = Verdict.FAIL, error.message
    except Exception as error:  # another's code may raise anything
        verdict, reason = Verdict.FAIL, f"{type(error).__name__}: {error}"
    promise = (inspect.getdoc(check) or "").splitlines()[0]
    seconds = round(time.monotonic() - began, 2)
    return CheckResult(check.__name__, promise, verdict, reason, seconds)
