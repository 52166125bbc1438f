"""What an engine keeps in memory is what the ledger says, however it came about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cloudseed.db import EventRow, ExperimentState
from cloudseed.loop import campaign as module
from cloudseed.loop import collecting, mirror
from cloudseed.loop.amending import correct, retract
from cloudseed.loop.mirror import Mirror
from cloudseed.loop.results import load_results
from tests.loop.labs import InstantLab
from tests.loop.recorded import answer, opened, spec_of


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    monkeypatch.setattr(collecting, "RETRY_PAUSE", 0.0)


def bare(experiments):
    return [replace(e, request={}) for e in experiments]


def same(mirror, ledger, problem):
    """Whether a mirror of any age says what the ledger says now."""
    assert bare(mirror.experiments(1)) == bare(ledger.experiments(1))
    assert mirror.measurements(1) == ledger.measurements(1)
    assert mirror.decisions(1) == ledger.decisions(1)
    found = [replace(r, experiment=bare([r.experiment])[0]) for r in mirror.results(problem)]
    wanted = load_results(ledger, 1, problem)
    assert found == [replace(r, experiment=bare([r.experiment])[0]) for r in wanted]


def test_it_follows_a_campaign_and_what_people_amend(ledger, generation):
    spec = spec_of(initial=4, budget={"experiments": 9})
    old = Mirror(ledger, 1)
    with opened(ledger, spec, InstantLab(answer), generation) as campaign:
        while len(ledger.measurements(1)) < 10:
            campaign.step()
            same(old, ledger, spec.problem)
        by_id = {e.id: e for e in ledger.experiments(1)}
        first, second = sorted({m.experiment_id for m in ledger.measurements(1)})[:2]
        retract(ledger, 1, by_id[first], "wrong sample")
        correct(ledger, 1, by_id[second], {"bulk_modulus": (400.0, None, None)}, "recalibrated")
        while ledger.unprocessed(1):
            campaign.step()
        same(old, ledger, spec.problem)
        campaign.run()
    same(old, ledger, spec.problem)
    assert ledger.experiments(1, [ExperimentState.RETRACTED])


class Log:
    """The safety log of a ledger, in which a line may appear late."""

    def __init__(self):
        self.lines, self.read = [], 0

    def say(self, *numbers):
        now = datetime.now(UTC)
        self.lines += [EventRow(n, now, "person_said", None, {"n": n}) for n in numbers]
        self.lines.sort(key=lambda line: line.id)

    def safety_log(self, campaign_id, after=0):
        found = [line for line in self.lines if line.id > after]
        self.read += len(found)
        return found


def test_of_the_safety_log_only_the_newest_lines_are_read_again(monkeypatch):
    monkeypatch.setattr(mirror, "AGAIN", 3)
    log = Log()
    kept = Mirror(log, 1)
    assert not kept.safety(1).lines
    log.say(*range(1, 40, 2))
    assert list(kept.safety(1).lines) == log.lines
    log.read = 0
    log.say(36, 41)
    assert list(kept.safety(1).lines) == log.lines
    assert log.read == 5
    assert list(kept.safety(2).lines) == log.lines


def test_its_safety_log_is_the_ledgers(ledger, generation):
    with opened(ledger, spec_of(initial=4), InstantLab(answer), generation) as campaign:
        kept = campaign.context.ledger
        for n in range(3):
            ledger.record_word(1, None, {"word": "attended", "by": str(n), "reason": "here"})
            ledger.record_check(campaign.context.claim, None, {"verdict": "refused", "n": n})
            told = list(kept.safety(1).lines)
            assert told == ledger.safety_log(1)
            assert len(ledger.safety_log(1, told[0].id)) == 2 * n + 1


def test_it_reads_again_only_what_has_changed(ledger, generation, monkeypatch):
    spec = spec_of(initial=100)
    with opened(ledger, spec, InstantLab(answer), generation) as campaign:
        for _ in range(6):
            campaign.step()
        mirror = Mirror(ledger, 1)
        before = mirror.results(spec.problem)
        changed = {e.id for e in ledger.experiments(1, [ExperimentState.RUNNING])}
        assert 0 < len(changed) < len(before)
        asked = []
        whole = ledger.experiments_by_id
        monkeypatch.setattr(
            ledger, "experiments_by_id", lambda ids: asked.extend(ids) or whole(ids)
        )
        campaign._collect()
        after = mirror.results(spec.problem)
    assert changed == set(asked)
    kept = {r.experiment.id: r for r in before}
    assert all(r is kept[r.experiment.id] for r in after if r.experiment.id not in changed)
