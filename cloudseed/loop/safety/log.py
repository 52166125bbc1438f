"""The safety log with an index: what the gate asks of it, without a walk over all its lines."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING

from cloudseed.db import Wish
from cloudseed.loop.safety.checks import Verdict
from cloudseed.loop.safety.sendings import Sendings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cloudseed.db import EventRow

__all__ = ["ATTENDED", "SafetyLog"]

_CHECKED, _SAID, _WISHED = "safety_checked", "person_said", "wish_recorded"
ATTENDED = "resumed"
_ALLOWED, _REFUSED = Verdict.ALLOWED.value, Verdict.REFUSED.value
_number = attrgetter("id")


class SafetyLog:
    """Checks, people's words and wishes of one campaign.

    Lines may come late and again: each counts once, and where it stands by its id. Whatever is
    asked is what a walk over all lines would find.

    Args:
        lines: Lines to begin with.

    Attributes:
        lines: All lines, in order.
        sent: What was let through.
    """

    def __init__(self, lines: Sequence[EventRow] = ()) -> None:
        self.lines: list[EventRow] = []
        self.sent = Sendings()
        self._first: dict[int | None, int] = {}
        self._last: dict[int | None, EventRow] = {}
        self._systems: Counter[str] = Counter()
        self._approved: dict[int | None, set[str]] = {}
        self._words: dict[str, EventRow] = {}
        self._named: dict[tuple[str, str], int] = {}
        self._refused: list[int] = []
        self._attended = 0
        self._signs: list[datetime] = []
        self.take(lines)

    def take(self, lines: Sequence[EventRow]) -> None:
        """Takes in those lines that are not known."""
        if not lines:
            return
        start = bisect_left(self.lines, min(map(_number, lines)), key=_number)
        known = set(map(_number, self.lines[start:]))
        for line in lines:
            if line.id not in known:
                known.add(line.id)
                self._file(line)

    def last_check(self, experiment: int) -> EventRow | None:
        """Returns an experiment's last check, or None."""
        return self._last.get(experiment)

    def last_checks(self, experiments: Iterable[int]) -> dict[int, EventRow]:
        """Returns the last check of each of some experiments, in order of their first ones."""
        found = [number for number in experiments if number in self._last]
        found.sort(key=self._first.__getitem__)
        return {number: self._last[number] for number in found}

    def word_on(self, sha: str) -> EventRow | None:
        """Returns a person's last word on a subject, or None."""
        return self._words.get(sha)

    def is_answered(self, check: EventRow) -> bool:
        """Whether a person has spoken on a check's subject after it."""
        word = self.word_on(check.data["sha"])
        return word is not None and word.id > check.id

    def approved(self, experiment: int) -> set[str]:
        """Returns the names under which an experiment was approved or let through."""
        return set(self._approved.get(experiment, ()))

    def has_sent(self, system: str) -> bool:
        """Whether the last check of an experiment of a chemical system let it through."""
        return self._systems[system] > 0

    def concerns(self, check: EventRow) -> bool:
        """Whether a line after a check is of the same subject or chemical system."""
        return any(
            self._named.get((what, check.data[what]), 0) > check.id for what in ("sha", "system")
        )

    def refused_since_seen(self) -> int:
        """Returns how many checks were refused since a person last attended to them."""
        return len(self._refused) - bisect_right(self._refused, self._attended)

    def last_sign(self, until: datetime) -> datetime | None:
        """Returns when a person last spoke or resumed, of what is not dated after a moment."""
        place = bisect_right(self._signs, until)
        return self._signs[place - 1] if place else None

    def _file(self, line: EventRow) -> None:
        if not self.lines or line.id > self.lines[-1].id:
            self.lines.append(line)
        else:
            insort(self.lines, line, key=_number)
        data = line.data
        for what in ("sha", "system"):
            if what in data:
                name = what, data[what]
                self._named[name] = max(line.id, self._named.get(name, 0))
        let = data.get("verdict") == _ALLOWED
        if let:
            self.sent.add(line)
        if let or data.get("word") == "given":
            self._approved.setdefault(line.experiment_id, set()).add(data["sha"])
        if line.kind == _CHECKED:
            self._file_check(line)
        elif line.kind == _SAID:
            self._file_word(line)
        elif _resumes(line):
            insort(self._signs, line.at)

    def _file_check(self, line: EventRow) -> None:
        of = line.experiment_id
        if line.data.get("verdict") == _REFUSED:
            insort(self._refused, line.id)
        self._first[of] = min(line.id, self._first.get(of, line.id))
        before = self._last.get(of)
        if before is not None and before.id > line.id:
            return
        self._last[of] = line
        for each, step in ((before, -1), (line, 1)):
            if each is not None and each.data["verdict"] == _ALLOWED:
                self._systems[each.data["system"]] += step

    def _file_word(self, line: EventRow) -> None:
        insort(self._signs, line.at)
        if line.data.get("word") == "attended":
            self._attended = max(line.id, self._attended)
        sha = line.data.get("sha")
        before = self._words.get(sha) if sha is not None else None
        if sha is not None and (before is None or before.id < line.id):
            self._words[sha] = line


def _resumes(event: EventRow) -> bool:
    wish, why = event.data.get("wish"), event.data.get("reason")
    return event.kind == _WISHED and wish == Wish.RUN.value and why == ATTENDED
