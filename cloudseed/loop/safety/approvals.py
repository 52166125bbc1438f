"""Approvals: a person's yes to exactly one request, as one lab would carry it out.

What is approved is named by its SHA-256: the request, the lab and the recipe it compiled. Whatever
of these changes afterwards, or is asked of another experiment or campaign, has another name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloudseed.db import Wish
from cloudseed.errors import UsageError
from cloudseed.lab_adapters import recipe_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudseed.db import CampaignRow, EventRow, ExperimentRow, Ledger
    from cloudseed.lab_adapters import ExperimentRequest
    from cloudseed.loop.spec import CampaignSpec

__all__ = [
    "ATTENDED",
    "Asked",
    "answer",
    "attend",
    "has_real_labs",
    "last_seen",
    "made_on",
    "open_questions",
    "refused_since_seen",
    "said_of",
    "subject",
    "system_of",
    "unattended_refusals",
]

_CHECKED, _SAID, _WISHED = "safety_checked", "person_said", "wish_recorded"
ATTENDED = "resumed"
_LEAST = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to a person.

    Attributes:
        experiment: Id of the experiment.
        sha: Name of what is to be approved.
        label: The material.
        lab: Where it would be made.
        reasons: Why a person is asked.
        recipe: What the lab would do, or what it is asked to; None if neither is known.
        carried: What it is asked to, where it would do something of its own; else None.
        at: When it was asked first, UTC.
    """

    experiment: int
    sha: str
    label: str
    lab: str
    reasons: tuple[str, ...]
    recipe: Mapping[str, Any] | None
    at: datetime
    carried: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {
            "experiment": self.experiment,
            "sha256": self.sha,
            "material": self.label,
            "lab": self.lab,
            "reasons": list(self.reasons),
            "recipe": None if self.recipe is None else dict(self.recipe),
            "asked": self.at.isoformat(),
            **({} if self.carried is None else {"carried": dict(self.carried)}),
        }


def made_on(campaign: CampaignRow) -> Sequence[Mapping[str, Any]]:
    """Returns what the labs said of themselves when the campaign was made: name, simulated."""
    told: Sequence[Mapping[str, Any]] = campaign.config.get("labs") or [campaign.config["lab"]]
    return told


def has_real_labs(campaign: CampaignRow, spec: CampaignSpec) -> bool:
    """Whether a campaign was made on labs that are to be guarded."""
    return spec.safety.simulated_too or not all(each["simulated"] for each in made_on(campaign))


def subject(
    experiment: ExperimentRow,
    request: ExperimentRequest,
    lab: str,
    recipe: Mapping[str, Any] | None,
) -> str:
    """Returns the name of what is approved: the same for every attempt of one experiment.

    Raises:
        ValueError: If the recipe is not plain JSON.
    """
    what = request.to_json() | {
        "key": experiment.idem_key,
        "lab": lab,
        "recipe": None if recipe is None else dict(recipe),
    }
    if request.recipe is not None:
        what["carried"] = dict(request.recipe)
    return recipe_hash(what)


def system_of(species: Sequence[str]) -> str:
    """Returns the chemical system of a material: its elements in alphabetical order."""
    return "-".join(sorted(set(species)))


def said_of(log: Sequence[EventRow], sha: str) -> EventRow | None:
    """Returns a person's last word on a subject, or None."""
    words = (e for e in reversed(log) if e.kind == _SAID and e.data.get("sha") == sha)
    return next(words, None)


def last_seen(campaign: CampaignRow, log: Sequence[EventRow]) -> datetime:
    """Returns when a person last gave a sign: by a word, by resuming, or by starting."""
    signs = [e.at for e in log if e.kind == _SAID or _resumes(e)]
    # A sign that is dated ahead is no proof that somebody is here.
    now = datetime.now(UTC) + timedelta(minutes=5)
    return max([campaign.created_at, *(at for at in signs if at <= now)])


def _resumes(event: EventRow) -> bool:
    wish, why = event.data.get("wish"), event.data.get("reason")
    return event.kind == _WISHED and wish == Wish.RUN.value and why == ATTENDED


def refused_since_seen(log: Sequence[EventRow]) -> int:
    """Returns how many checks were refused since a person last attended to them."""
    attended = (e.id for e in log if e.kind == _SAID and e.data.get("word") == "attended")
    after = max(attended, default=0)
    return sum(
        e.kind == _CHECKED and e.id > after and e.data.get("verdict") == "refused" for e in log
    )


def unattended_refusals(ledger: Ledger, campaign: CampaignRow, spec: CampaignSpec) -> int:
    """Returns how many refused checks keep a campaign from going on; 0 if it may."""
    if not has_real_labs(campaign, spec):
        return 0
    count = refused_since_seen(ledger.safety_log(campaign.id))
    return count if count >= spec.safety.refusals else 0


def open_questions(ledger: Ledger, campaign_id: int) -> list[Asked]:
    """Returns what waits for a person's word, in order."""
    from cloudseed.db import ExperimentState

    log = ledger.safety_log(campaign_id)
    planned = {e.id: e for e in ledger.experiments(campaign_id, [ExperimentState.PLANNED])}
    last: dict[int, EventRow] = {}
    for event in log:
        if event.kind == _CHECKED and event.experiment_id in planned:
            last[event.experiment_id] = event
    return [
        Asked(
            experiment=number,
            sha=event.data["sha"],
            label=planned[number].request["label"],
            lab=event.data["lab"],
            reasons=tuple(event.data["reasons"]),
            recipe=event.data["recipe"],
            at=event.at,
            carried=event.data.get("carried"),
        )
        for number, event in last.items()
        if event.data.get("asks") and not _answered(log, event)
    ]


def _answered(log: Sequence[EventRow], asked: EventRow) -> bool:
    word = said_of(log, asked.data["sha"])
    return word is not None and word.id > asked.id


def answer(ledger: Ledger, campaign_id: int, sha: str, *, word: str, by: str, reason: str) -> Asked:
    """Records a person's word on what is asked.

    Args:
        ledger: The record.
        campaign_id: The campaign.
        sha: Name of the subject, or its first eight characters or more.
        word: "given" or "refused".
        by: Who says so.
        reason: Why.

    Raises:
        UsageError: If nothing of that name is asked, the name is too short, or who or why is
            missing.
    """
    if word not in {"given", "refused"}:
        raise UsageError(f"{word!r} is no answer.", hint="Say given or refused.")
    if not by.strip() or not reason.strip():
        raise UsageError("An answer needs who gives it and why.", hint="Use --by and --reason.")
    if len(sha) < _LEAST:
        raise UsageError(
            f"{sha!r} is too short to name what is approved.",
            hint=f"Give {_LEAST} characters of its SHA-256 or more.",
        )
    found = [q for q in open_questions(ledger, campaign_id) if q.sha.startswith(sha.lower())]
    if len(found) != 1:
        ledger.record_word(campaign_id, None, {"word": "void", "sha": "", "by": by, "of": sha[:64]})
        raise UsageError(
            f"Nothing that waits for a person has the SHA-256 {sha[:64]}.",
            hint="`cloudseed approvals list` shows what waits: a request or recipe that changed has"
            " another SHA-256.",
        )
    (question,) = found
    told = {"word": word, "sha": question.sha, "by": by, "reason": reason}
    ledger.record_word(campaign_id, question.experiment, told)
    return question


def attend(ledger: Ledger, campaign_id: int, *, by: str, reason: str) -> int:
    """Records that a person is here and has seen what was refused; returns how much that was.

    Raises:
        UsageError: If who or why is missing.
    """
    if not by.strip() or not reason.strip():
        raise UsageError("A sign needs who gives it and why.", hint="Use --by and --reason.")
    count = refused_since_seen(ledger.safety_log(campaign_id))
    ledger.record_word(campaign_id, None, {"word": "attended", "by": by, "reason": reason})
    return count
