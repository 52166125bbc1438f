"""What a lab says of itself, held against what it does."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cloudseed._elements import SYMBOLS
from cloudseed.errors import CloudseedError, UnitError
from cloudseed.lab_adapters.conformance.bench import Failed, NotApplicable
from cloudseed.lab_adapters.protocols import DeliveryClass, Feature, Outcome, OutcomeKind
from cloudseed.units import convert, unit_of

if TYPE_CHECKING:
    from pathlib import Path

    from cloudseed.lab_adapters.conformance.bench import Bench
    from cloudseed.lab_adapters.protocols import Estimate, LabDescription

__all__ = [
    "capability",
    "clock",
    "description",
    "health",
    "limits",
    "recipes",
    "units",
    "validation",
]


def description(bench: Bench) -> None:
    """It describes itself, each time the same, in units that exist."""
    can = bench.lab.describe()
    if can != bench.lab.describe():
        raise Failed("it describes itself differently the second time")
    if not can.name or not can.properties:
        raise Failed("it has no name or no property")
    if can.concurrency < 1:
        raise Failed(f"its concurrency is {can.concurrency}")
    if not isinstance(can.delivery, DeliveryClass):
        raise Failed(f"its delivery class is {can.delivery!r}")
    if strange := [f for f in can.features if f not in set(Feature)]:
        raise Failed(f"there is no feature {strange[0]!r}")
    for name, unit in can.properties.items():
        usual = unit_of(name)
        _same_kind(name, unit, unit if usual is None else usual)
    _check_ranges(can)


def _check_ranges(can: LabDescription) -> None:
    strange = sorted((can.elements or frozenset()) - set(SYMBOLS[1:]))
    if strange:
        raise Failed(f"{strange[0]!r} is no element")
    for name in ("duration", "cost"):
        estimate: Estimate | None = getattr(can, name)
        if estimate is None:
            continue
        if not (0 <= estimate.p50 <= estimate.p95 < math.inf):
            raise Failed(f"its {name} is {estimate.p50:g} to {estimate.p95:g}")
    if can.duration is not None:
        _same_kind("duration", can.duration.unit, "s")
    if can.temperatures is not None and not 0 <= can.temperatures[0] <= can.temperatures[1]:
        raise Failed(f"its temperatures are {can.temperatures[0]:g} to {can.temperatures[1]:g} K")
    for precursor in can.shelf or ():
        if not 0 < precursor.assay <= 1 or (precursor.grams or 0.0) < 0:
            raise Failed(f"its shelf has an impossible amount of {precursor.formula}")


def _same_kind(name: str, unit: str, other: str) -> None:
    try:
        convert(1.0, unit, other)
    except UnitError as error:
        raise Failed(f"{name} is in {unit!r}: {error.message}") from error


def validation(bench: Bench) -> None:
    """It accepts what it can do and refuses the rest with reasons, and neither leaves a trace."""
    lab = bench.lab
    before = _tree(bench.workdir)
    request = bench.accepted()
    verdict = lab.validate(request)
    if lab.validate(request) != verdict:
        raise Failed("the same request gets another verdict the second time")
    if verdict.reasons and not verdict.needs_approval:
        raise Failed("it accepts and gives reasons against")
    if lab.lookup(request.key) is not None:
        raise Failed("it has what it only validated")
    refused = bench.asking("cloudseed_no_such_property")
    verdict = lab.validate(refused)
    if verdict.accepted:
        raise Failed("it accepts a property that it does not declare")
    if not any(verdict.reasons):
        raise Failed("it refuses without a reason")
    if _tree(bench.workdir) != before:
        raise Failed("validating changed its folder")


def _tree(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(p), p.stat().st_size) for p in folder.rglob("*") if p.is_file())


def limits(bench: Bench) -> None:
    """It refuses what lies beyond the limits that it declares."""
    can = bench.lab.describe()
    tried = False
    if can.elements is not None:
        beyond = next((s for s in reversed(SYMBOLS[1:]) if s not in can.elements), None)
        if beyond is not None:
            tried = True
            if bench.lab.validate(bench.with_element(beyond)).accepted:
                raise Failed(f"it accepts {beyond}, which is not among its elements")
    if can.largest_cell is not None:
        tried = True
        if bench.lab.validate(bench.oversized(can.largest_cell + 1)).accepted:
            raise Failed(f"it accepts more than its {can.largest_cell} atoms")
    if not tried:
        raise NotApplicable("it declares no limit on elements or on the size of a cell")


def recipes(bench: Bench) -> None:
    """It takes a recipe with a request, and puts none of its own in the place of it."""
    if Feature.RECIPES not in bench.lab.describe().features:
        raise NotApplicable("it does not say that it follows recipes")
    plain = bench.accepted()
    own = []
    for temperature in (1173.15, 1273.15):
        recipe = {"steps": [{"do": "heat", "temperature": temperature, "ramp": 5.0, "gas": "air"}]}
        asked = replace(plain, recipe=recipe)
        verdict = bench.lab.validate(asked)
        if not verdict.accepted:
            raise Failed(f"it refuses a recipe: {'; '.join(verdict.reasons)}")
        own.append(verdict.recipe)
        if bench.lab.lookup(asked.key) is not None:
            raise Failed("it has what it only validated")
    if own[0] is not None and own[0] == own[1]:
        raise Failed("it would do the same whichever recipe it is sent")


def capability(bench: Bench) -> None:
    """It measures every property that it declares, and says truly whether it simulates."""
    can = bench.lab.describe()
    outcomes = [Outcome.from_json(m.raw) for _, m in bench.sample().values()]
    measured = [o for o in outcomes if o.kind is OutcomeKind.MEASURED]
    if not measured:
        raise Failed(f"it measured none of the materials: {outcomes[0].reason}")
    wanted = set(bench.settings.properties or can.properties)
    for outcome in measured:
        if missing := sorted(wanted - {m.property for m in outcome.measurements}):
            raise Failed(f"a result lacks {missing[0]}, which it was asked for and declares")
        if outcome.simulated not in {None, can.simulated}:
            raise Failed(f"a result has simulated: {outcome.simulated}, it declares the opposite")
    if any(not o.reason for o in outcomes if o.kind is not OutcomeKind.MEASURED):
        raise Failed("an outcome without a value has no reason")


def units(bench: Bench) -> None:
    """Its values are in units of the kind that it declares."""
    declared = bench.lab.describe().properties
    for _, message in bench.sample().values():
        for m in Outcome.from_json(message.raw).measurements:
            if m.property in declared:
                _same_kind(m.property, m.unit, declared[m.property])


def clock(bench: Bench) -> None:
    """Its times are UTC, in order, and agree with this machine's."""
    lenience = timedelta(seconds=bench.settings.clock)
    now, seen = datetime.now(UTC), False
    told = bench.lab.health().clock
    if told is not None:
        seen = True
        if told.tzinfo is None:
            raise Failed("its clock has no time zone")
        if abs(told - now) > lenience:
            raise Failed(f"its clock is off by {(told - now).total_seconds():+.0f} s")
    for _, message in bench.sample().values():
        outcome = Outcome.from_json(message.raw)
        times = [t for t in (outcome.started, outcome.ended) if t is not None]
        seen = seen or bool(times)
        if times != sorted(times):
            raise Failed("an experiment ended before it started")
        if times and times[-1] > datetime.now(UTC) + lenience:
            raise Failed("an experiment ended in the future")
    if not seen:
        raise NotApplicable("it tells no times")


def health(bench: Bench) -> None:
    """It says how it is, without raising."""
    try:
        found = bench.lab.health()
    except CloudseedError as error:
        raise Failed(f"it raised instead: {error.message}") from error
    if not found.ready:
        raise Failed(f"it is not ready: {found.reason or 'without a reason'}")
