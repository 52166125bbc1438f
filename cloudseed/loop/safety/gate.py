"""The gate before real labs: nothing is sent that is not checked, and every check is logged."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloudseed.db import Wish
from cloudseed.lab_adapters import OperableLab
from cloudseed.loop.descriptions import described
from cloudseed.loop.patience import asking
from cloudseed.loop.safety.approvals import (
    has_real_labs,
    last_seen,
    made_on,
    refused_since_seen,
    said_of,
    subject,
    system_of,
    unattended_refusals,
)
from cloudseed.loop.safety.checks import Checked, Verdict, breaches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.db import EventRow, ExperimentRow
    from cloudseed.lab_adapters import ExperimentRequest, Validation
    from cloudseed.loop.context import Context
    from cloudseed.loop.safety.facts import Facts

__all__ = [
    "changed_since",
    "check",
    "is_guarded",
    "refuse_changed",
    "rest_if_unattended",
    "too_many_refusals",
    "waits",
]

log = logging.getLogger(__name__)

LARGEST = 200_000
"""Characters of the longest recipe."""

AHEAD = 60.0
"""Seconds that an approval may be dated ahead: clocks of two machines differ."""

_DAY = timedelta(days=1)


def is_guarded(context: Context, lab: str) -> bool:
    """Whether a lab is real, or was when the campaign was made; what it now says cannot open it."""
    was_real = any(
        each["name"] == lab and not each["simulated"] for each in made_on(context.campaign)
    )
    can = described(context, lab)
    real = was_real or can is None or not can.simulated
    return real or context.spec.safety.simulated_too


def waits(context: Context, experiment: ExperimentRow) -> bool:
    """Whether an experiment still waits for what it waited for, so that no lab need be asked."""
    known = experiment.lab in context.labs
    guarded = known and is_guarded(context, experiment.lab)
    if not (guarded or has_real_labs(context.campaign, context.spec)):
        return False
    lines = context.ledger.safety_log(context.campaign.id)
    last = next((e for e in reversed(lines) if _is_of(e, experiment.id)), None)
    if last is None or last.data["verdict"] != Verdict.WAITING.value:
        return False
    if not last.data["asks"]:
        return len(_sent_lately(lines)) >= context.spec.safety.daily
    return not any(
        e.data.get("sha") == last.data["sha"] or e.data.get("system") == last.data["system"]
        for e in lines
        if e.id > last.id
    )


def check(
    context: Context,
    experiment: ExperimentRow,
    lab: str,
    request: ExperimentRequest,
    validation: Validation,
) -> Checked:
    """Checks what is about to be sent to a lab, and logs the verdict where it is a new one."""
    if not is_guarded(context, lab):
        return Checked(Verdict.ALLOWED)
    lines = context.ledger.safety_log(context.campaign.id)
    found = _checked(context, experiment, lab, request, validation, lines=lines)
    data = {
        "verdict": found.verdict.value,
        "sha": found.sha,
        "lab": lab,
        "key": request.key,
        "system": system_of(request.cell.species),
        "reasons": list(found.reasons),
        "asks": found.asks,
        "grams": found.grams,
        "recipe": _plain(request.recipe if validation.recipe is None else validation.recipe),
    }
    if request.recipe is not None and validation.recipe is not None:
        data["carried"] = _plain(request.recipe)
    if found.by_person:
        data["verdict"] = "declined"
    before = next((e for e in reversed(lines) if _is_of(e, experiment.id)), None)
    if before is None or before.data != data:
        context.ledger.record_check(context.claim, experiment.id, data)
        log.info("checked", extra={"experiment": experiment.id, "verdict": data["verdict"]})
    return found


def _is_of(event: EventRow, experiment: int) -> bool:
    return event.kind == "safety_checked" and event.experiment_id == experiment


def _plain(recipe: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns a recipe as the log can hold it."""
    if recipe is None:
        return None
    try:
        text = json.dumps(recipe, allow_nan=False)
    except (TypeError, ValueError):
        return {"unreadable": str(recipe)[:1000]}
    plain: dict[str, Any] = json.loads(text) if len(text) <= LARGEST else {"characters": len(text)}
    return plain


def _checked(
    context: Context,
    experiment: ExperimentRow,
    lab: str,
    request: ExperimentRequest,
    validation: Validation,
    *,
    lines: Sequence[EventRow],
) -> Checked:
    limits = context.spec.safety
    candidate = context.ledger.candidates_by_id([experiment.candidate_id])[0]
    try:
        sha = subject(experiment, request, lab, validation.recipe)
    except (TypeError, ValueError):
        return Checked(Verdict.REFUSED, reasons=("the lab's recipe is not plain JSON",))
    if validation.recipe is not None and len(json.dumps(validation.recipe)) > LARGEST:
        return Checked(Verdict.REFUSED, sha, (f"its recipe is longer than {LARGEST} characters",))
    with asking(context, lab):
        description = context.labs[lab].describe()
    broken, facts = breaches(limits, description, request, validation.recipe)
    if (request.candidate, request.label) != (candidate.key, candidate.formula):
        broken.insert(0, f"it asks for {request.label}, but {candidate.formula} was planned")
    if broken:
        return Checked(Verdict.REFUSED, sha, tuple(broken), grams=facts.grams)
    word = said_of(lines, sha)
    if word is not None and word.data["word"] == "refused":
        why = f"{word.data['by']} refused it: {word.data['reason']}"
        return Checked(Verdict.REFUSED, sha, (why,), by_person=True)
    asked = _asks(context, request, validation, facts, lines)
    if _approved(lines, experiment.id) - {sha}:
        asked.append("it has changed since it was approved")
    if asked and (flaw := _flaw(word, limits.approval_lasts)):
        return Checked(Verdict.WAITING, sha, (*asked, flaw), asks=True, grams=facts.grams)
    later = _not_now(context, lab, facts, lines)
    verdict = Verdict.WAITING if later else Verdict.ALLOWED
    return Checked(verdict, sha, tuple(later), grams=facts.grams)


def _asks(
    context: Context,
    request: ExperimentRequest,
    validation: Validation,
    facts: Facts,
    lines: Sequence[EventRow],
) -> list[str]:
    """Returns why a person must agree."""
    system = system_of(request.cell.species)
    last = {e.experiment_id: e.data for e in lines if e.kind == "safety_checked"}
    sent = {d["system"] for d in last.values() if d["verdict"] == Verdict.ALLOWED.value}
    reasons = []
    if context.spec.safety.approval == "each":
        reasons.append("every experiment needs approval")
    elif system not in sent:
        reasons.append(f"it is the first of {system}")
    if facts.missing:
        reasons.append(f"the lab's recipe does not state {', '.join(facts.missing)}")
    if validation.needs_approval:
        reasons.append("the lab wants a person to agree")
    return reasons


def _approved(lines: Sequence[EventRow], experiment: int) -> set[str]:
    """Returns the names under which an experiment was approved or let through."""
    return {
        e.data["sha"]
        for e in lines
        if e.experiment_id == experiment
        and (e.data.get("word") == "given" or e.data.get("verdict") == Verdict.ALLOWED.value)
    }


def _flaw(word: EventRow | None, lasts: float) -> str:
    """Returns what is wrong with an approval, or ""."""
    if word is None or word.data["word"] != "given":
        return "nobody has approved it"
    age = (datetime.now(UTC) - word.at).total_seconds()
    if age < -AHEAD:
        return "its approval is dated ahead: check the clocks"
    return f"its approval is older than {lasts / 3600:g} h" if age > lasts else ""


def _not_now(context: Context, lab: str, facts: Facts, lines: Sequence[EventRow]) -> list[str]:
    """Returns what only time or a lab's repair can change."""
    limits, sent = context.spec.safety, _sent_lately(lines)
    reasons = []
    if (refused := refused_since_seen(lines)) >= limits.refusals:
        reasons.append(f"{refused} checks were refused, and nobody has attended to them")
    if len(sent) >= limits.daily:
        reasons.append(f"{len(sent)} experiments were sent within a day, which is the limit")
    grams = [limits.mass if g is None else g for g in [*sent.values(), facts.grams]]
    if sum(grams) > limits.daily_mass * (1 + 1e-9):
        reasons.append(f"more than {limits.daily_mass:g} g would be weighed out within a day")
    peer = context.labs[lab]
    if isinstance(peer, OperableLab):
        clock = peer.health().clock
        off = 0.0 if clock is None else abs((datetime.now(UTC) - clock).total_seconds())
        if off > limits.clock:
            reasons.append(f"the lab's clock is off by {off:.0f} s")
    return reasons


def _sent_lately(lines: Sequence[EventRow]) -> dict[str, float | None]:
    """Returns what was let through within a day: key -> grams."""
    since = datetime.now(UTC) - _DAY
    return {
        e.data["key"]: e.data["grams"]
        for e in lines
        if e.data.get("verdict") == Verdict.ALLOWED.value and e.at > since
    }


def changed_since(context: Context, experiment: ExperimentRow, request: ExperimentRequest) -> str:
    """Returns why a request may no longer go out on the check that let it through, or "".

    Asked right before the sending, of the lab as it is then.

    Raises:
        LabError: If the lab cannot be asked.
    """
    name = experiment.lab
    if not is_guarded(context, name):
        return ""
    lines = context.ledger.safety_log(context.campaign.id)
    let = next((e for e in reversed(lines) if _is_of(e, experiment.id)), None)
    if let is None or let.data["verdict"] != Verdict.ALLOWED.value:
        return "no check let it through"
    if let.data["key"] != request.key:
        return "the check was of another attempt"
    with asking(context, name):
        recipe = context.labs[name].validate(request).recipe
    try:
        same = subject(experiment, request, name, recipe) == let.data["sha"]
    except (TypeError, ValueError):
        same = False
    return "" if same else "its request or recipe is no longer the one that was checked"


def refuse_changed(context: Context, experiment: ExperimentRow, why: str) -> None:
    """Logs that something was held back at the last moment; it counts as a refusal."""
    data = {
        "verdict": Verdict.REFUSED.value,
        "sha": "",
        "lab": experiment.lab,
        "key": f"{experiment.idem_key}-{experiment.attempt}",
        "system": "",
        "reasons": [why],
        "asks": False,
        "grams": None,
        "recipe": None,
    }
    context.ledger.record_check(context.claim, experiment.id, data)


def too_many_refusals(context: Context) -> str | None:
    """Returns why a campaign has to stop until a person has looked, or None."""
    count = unattended_refusals(context.ledger, context.campaign, context.spec)
    if not count:
        return None
    return f"{count} safety checks were refused; `cloudseed approvals attend` lets it go on"


def rest_if_unattended(context: Context) -> None:
    """Pauses a campaign on real labs for which no person has given a sign for too long."""
    if not has_real_labs(context.campaign, context.spec):
        return
    ledger, campaign = context.ledger, context.campaign
    if ledger.wished(campaign.id)[0] is not Wish.RUN:
        return
    limit = context.spec.safety.attended
    silent = datetime.now(UTC) - last_seen(campaign, ledger.safety_log(campaign.id))
    if silent.total_seconds() > limit:
        why = f"no person has given a sign for {limit / 3600:g} h"
        ledger.record_check(context.claim, None, {"verdict": "paused", "reasons": [why]})
        ledger.wish(campaign.id, Wish.PAUSE, why)
