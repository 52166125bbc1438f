"""The index of the safety log: what a walk over all lines would find, without the walk."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudseed.db import EventRow
from cloudseed.loop import mirror
from cloudseed.loop.mirror import Mirror, safety_of
from cloudseed.loop.safety.approvals import answer, open_questions
from cloudseed.loop.safety.log import SafetyLog
from tests.safety.kit import RealLab, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cloudseed.db import SqlLedger
    from cloudseed.loop import Campaign

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOURS = 5


def told(rng: random.Random) -> tuple[str, int | None, dict[str, Any]]:
    """Returns what a line of the log may tell: kind, experiment, data."""
    which, of, sha = rng.random(), rng.choice([1, 2, 3]), rng.choice("abc")
    if which < 0.6:
        data = {
            "verdict": rng.choice(["allowed", "allowed", "waiting", "refused", "declined"]),
            "sha": sha,
            "key": rng.choice(["1-1", "1-2", "2-1"]),
            "system": rng.choice(["O-Sr", "O-Ti", ""]),
            "grams": rng.choice([None, 0.1, 0.2, 0.3, 1e9, 0, 7.5]),
            "asks": rng.random() < 0.5,
        }
        return "safety_checked", of, data
    if which < 0.75:
        word = rng.choice(["given", "refused", "void"])
        return "person_said", rng.choice([None, of]), {"word": word, "sha": sha}
    if which < 0.85:
        return "person_said", None, {"word": rng.choice(["attended", "attended", "resumed"])}
    if which < 0.95:
        reason = rng.choice(["resumed", "tea"])
        return "wish_recorded", None, {"wish": rng.choice(["run", "pause"]), "reason": reason}
    return "safety_checked", None, {"verdict": "paused", "reasons": ["nobody"]}


def random_log(rng: random.Random) -> list[list[EventRow]]:
    """Returns a log in the parts in which it is read: lines come late, and again."""
    lines = [
        EventRow(n, NOON + timedelta(hours=rng.randrange(HOURS)), *told(rng))
        for n in range(1, rng.randrange(2, 60))
    ]
    waiting = rng.sample(lines, len(lines))
    parts: list[list[EventRow]] = [[]]
    while waiting:
        count = rng.randrange(1, 6)
        part, waiting = waiting[:count], waiting[count:]
        again = [line for each in parts for line in each if rng.random() < 0.05]
        parts.append(sorted([*part, *again], key=lambda line: line.id))
    return parts


def last_check(lines: Iterable[EventRow], of: int | None) -> EventRow | None:
    found = [e for e in lines if e.kind == "safety_checked" and e.experiment_id == of]
    return found[-1] if found else None


def sent_since(lines: Iterable[EventRow], moment: datetime) -> tuple[int, float, int]:
    sent = {
        e.data["key"]: e.data["grams"]
        for e in lines
        if e.data.get("verdict") == "allowed" and e.at > moment
    }
    known = [grams for grams in sent.values() if grams is not None]
    return len(sent), sum(known), len(sent) - len(known)


def systems_sent(lines: Sequence[EventRow]) -> set[str]:
    last = {e.experiment_id: e.data for e in lines if e.kind == "safety_checked"}
    return {data["system"] for data in last.values() if data["verdict"] == "allowed"}


def names_approved(lines: Iterable[EventRow], of: int) -> set[str]:
    return {
        e.data["sha"]
        for e in lines
        if e.experiment_id == of
        and (e.data.get("word") == "given" or e.data.get("verdict") == "allowed")
    }


def last_word(lines: Iterable[EventRow], sha: str) -> EventRow | None:
    found = [e for e in lines if e.kind == "person_said" and e.data.get("sha") == sha]
    return found[-1] if found else None


def concerns(lines: Iterable[EventRow], check: EventRow) -> bool:
    return any(
        e.data.get("sha") == check.data["sha"] or e.data.get("system") == check.data["system"]
        for e in lines
        if e.id > check.id
    )


def refused_since_seen(lines: Sequence[EventRow]) -> int:
    attended = [e.id for e in lines if e.data.get("word") == "attended"]
    after = max(attended, default=0)
    return sum(e.id > after and e.data.get("verdict") == "refused" for e in lines)


def last_sign(lines: Iterable[EventRow], until: datetime) -> datetime | None:
    signs = [
        e.at
        for e in lines
        if e.kind == "person_said"
        or (e.kind == "wish_recorded" and e.data == {"wish": "run", "reason": "resumed"})
    ]
    return max((at for at in signs if at <= until), default=None)


def asked(lines: Sequence[EventRow], planned: set[int]) -> list[int]:
    """Returns the lines that ask a person something, in order."""
    last: dict[int, EventRow] = {}
    for line in lines:
        if line.kind == "safety_checked" and line.experiment_id in planned:
            last[line.experiment_id] = line
    answered = {n: last_word(lines, line.data["sha"]) for n, line in last.items()}
    return [
        line.id
        for n, line in last.items()
        if line.data.get("asks") and ((word := answered[n]) is None or word.id < line.id)
    ]


@given(st.integers(0, 2**32))
def test_the_index_finds_what_a_walk_over_all_lines_finds(seed: int) -> None:
    rng = random.Random(seed)
    log, lines = SafetyLog(), list[EventRow]()
    for part in random_log(rng):
        log.take(part)
        lines = sorted({line.id: line for line in [*lines, *part]}.values(), key=lambda e: e.id)
        assert log.lines == lines
        # Clocks go back and forth between two questions.
        moment = NOON + timedelta(hours=rng.randrange(HOURS))
        assert log.sent.since(moment) == pytest.approx(sent_since(lines, moment))
        assert log.last_sign(moment) == last_sign(lines, moment)
        assert log.refused_since_seen() == refused_since_seen(lines)
        for system in ("O-Sr", "O-Ti", "", "Na"):
            assert log.has_sent(system) == (system in systems_sent(lines))
        for sha in ("a", "b", "c", "d"):
            assert log.word_on(sha) == last_word(lines, sha)
        for of in (1, 2, 3, 4):
            check = last_check(lines, of)
            assert log.last_check(of) == check
            assert log.approved(of) == names_approved(lines, of)
            if check is not None:
                assert log.concerns(check) == concerns(lines, check)
        found = log.last_checks([3, 1, 4]).values()
        asks = [e.id for e in found if e.data["asks"] and not log.is_answered(e)]
        assert asks == asked(lines, {3, 1, 4})


def test_what_falls_out_of_the_day_leaves_no_grams_behind() -> None:
    log = SafetyLog()
    for n in range(1, 1001):
        data = {"verdict": "allowed", "sha": "a", "key": str(n), "system": "O", "grams": n / 10}
        log.take([EventRow(n, NOON + timedelta(hours=n), "safety_checked", n, data)])
        log.sent.since(NOON + timedelta(hours=n - 24))
    assert log.sent.since(NOON + timedelta(hours=999)) == (1, 100.0, 0)
    assert log.sent.since(NOON + timedelta(hours=1000)) == (0, 0.0, 0)
    data = {"verdict": "allowed", "sha": "a", "key": "?", "system": "O", "grams": float("inf")}
    log.take([EventRow(1001, NOON + timedelta(hours=1001), "safety_checked", 1001, data)])
    assert log.sent.since(NOON + timedelta(hours=1000)) == (1, float("inf"), 0)
    assert log.sent.since(NOON + timedelta(hours=1001)) == (0, 0.0, 0)


class Unwalked(list[EventRow]):
    """Lines of which only the newest may be looked at together."""

    def __iter__(self) -> Any:
        raise AssertionError("somebody walks over all lines")

    __reversed__ = __iter__

    def __getitem__(self, which: Any) -> Any:
        found = super().__getitem__(which)
        assert not isinstance(which, slice) or len(found) <= mirror.AGAIN
        return found


def test_a_step_takes_in_only_new_lines(
    campaign_on: Callable, ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "AGAIN", 2)
    filed: list[int] = []
    file = SafetyLog._file
    monkeypatch.setattr(SafetyLog, "_file", lambda s, e: filed.append(e.id) or file(s, e))
    with campaign_on(lab := RealLab(), guarded(approval="each")) as campaign:
        kept = campaign.context.ledger
        assert isinstance(kept, Mirror)
        for _ in range(3):
            advance(campaign)
        log = safety_of(kept, 1)
        read: list[EventRow] = []
        whole = ledger.safety_log
        monkeypatch.setattr(
            ledger, "safety_log", lambda *args: read.extend(found := whole(*args)) or found
        )
        log.lines = Unwalked(log.lines)
        sent, taken = lab.submissions, 0
        for _ in range(4):
            del filed[:], read[:]
            newest = log.lines[-1].id
            advance(campaign)
            safety_of(kept, 1)
            new = [e.id for e in whole(1, newest)]
            assert filed == new
            assert {e.id for e in read} == {e.id for e in whole(1)[-mirror.AGAIN - len(new) :]}
            taken += len(new)
        assert lab.submissions > sent
        assert taken >= 4


def advance(campaign: Campaign) -> None:
    """Steps, and agrees to what a person is asked."""
    campaign.step()
    ledger = campaign.context.ledger
    for question in open_questions(ledger, 1):
        answer(ledger, 1, question.sha, word="given", by="Ada", reason="checked")
