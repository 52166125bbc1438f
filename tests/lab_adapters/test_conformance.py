from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from cloudseed.errors import InputError, SpecError, UsageError
from cloudseed.lab_adapters.conformance import (
    CHECKS,
    Bench,
    CheckSettings,
    Verdict,
    badge,
    read_check_file,
    run_checks,
)
from tests.lab_adapters.kit import perovskite

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [check.__name__ for check in CHECKS]
SETTINGS = CheckSettings(timeout=10, kills=2, stop=True)


def verdicts(lab: str, tmp_path: Path, *only: str) -> dict[str, tuple[Verdict, str]]:
    report = run_checks(
        f"tests.lab_adapters.cheats:{lab}", SETTINGS, folder=tmp_path, only=frozenset(only)
    )
    return {r.name: (r.verdict, r.reason) for r in report.results}


def test_an_honest_lab_passes_every_check(tmp_path: Path) -> None:
    found = verdicts("HonestLab", tmp_path)
    assert list(found) == NAMES
    assert {v for v, _ in found.values()} == {Verdict.PASS}, found


@pytest.mark.parametrize(
    ("lab", "check", "words"),
    [
        ("WrongUnit", "description", "parsec"),
        ("Ill", "health", "no argon"),
        ("Accepting", "validation", "accepts a property"),
        ("Leaving", "validation", "changed its folder"),
        ("Boundless", "limits", "not among its elements"),
        ("Habitual", "recipes", "whichever recipe"),
        ("Choosy", "recipes", "refuses a recipe: no recipes today"),
        ("Forgetful", "idempotency", "does not give the handle"),
        ("Careless", "idempotency", "another request"),
        ("Boasting", "capability", "lacks volume"),
        ("Posing", "capability", "simulated"),
        ("Grams", "units", "cannot be converted"),
        ("Late", "clock", "off by -600 s"),
        ("Wavering", "repeats", "result"),
        ("Inventing", "repeats", "never gave"),
        ("Claiming", "reconciling", "never sent"),
        ("Looping", "events", "tells again"),
        ("InMemory", "restart", "does not know a key"),
        ("Postponing", "crash", "lost it"),
        ("Deaf", "cancelling", "cancelled, and the outcome is measured"),
        ("Unmoved", "cancelling", "what is cancelled is running, also behind 5 others"),
        ("Restless", "stopping", "takes a request"),
    ],
)
def test_a_broken_promise_is_noticed(tmp_path: Path, lab: str, check: str, words: str) -> None:
    verdict, reason = verdicts(lab, tmp_path, check)[check]
    assert verdict is Verdict.FAIL
    assert words in reason


def test_every_check_is_seen_to_fail() -> None:
    (mark,) = test_a_broken_promise_is_noticed.pytestmark  # type: ignore[attr-defined]
    assert {check for _, check, _ in mark.args[1]} == set(NAMES)


def test_a_lab_too_quick_to_be_cancelled_is_asked_again_behind_others(tmp_path: Path) -> None:
    assert verdicts("Brisk", tmp_path, "cancelling")["cancelling"] == (Verdict.PASS, "")


def test_what_a_class_does_not_promise_is_not_asked(tmp_path: Path) -> None:
    found = verdicts("ClassB", tmp_path / "b", "idempotency", "crash")
    assert {v for v, _ in found.values()} == {Verdict.PASS}
    found = verdicts("ClassC", tmp_path / "c", "idempotency", "crash", "reconciling")
    assert {v for v, _ in found.values()} == {Verdict.NOT_APPLICABLE}


def test_a_real_lab_is_not_stopped_unasked(tmp_path: Path) -> None:
    report = run_checks(
        "tests.lab_adapters.cheats:HonestLab",
        CheckSettings(),
        folder=tmp_path,
        only=frozenset({"stopping"}),
    )
    assert report.results[0].verdict is Verdict.NOT_APPLICABLE


def test_somebody_may_play_the_lab(tmp_path: Path) -> None:
    settings = CheckSettings(config={"a": 1}, operator="tests.lab_adapters.cheats:talk")
    run_checks(
        "tests.lab_adapters.cheats:HonestLab",
        settings,
        folder=tmp_path,
        only=frozenset({"description"}),
    )
    assert json.loads((tmp_path / "operator").read_text()) == {"a": 1}
    with pytest.raises(UsageError, match="cannot be imported"):
        run_checks("tests.lab_adapters.cheats:HonestLab", CheckSettings(operator="no.such:thing"))


def test_a_report_makes_json_and_a_badge(tmp_path: Path) -> None:
    report = run_checks(
        "tests.lab_adapters.cheats:Ill", SETTINGS, folder=tmp_path, only=frozenset({"health"})
    )
    data = json.loads(json.dumps(report.to_json()))
    assert data["passed"] is False
    assert data["checks"][0]["verdict"] == "fail"
    drawing = ET.fromstring(badge(report))
    assert "1 broken, 0 kept" in "".join(drawing.itertext())


def test_a_check_file_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "check.yaml"
    path.write_text("config: {path: t.csv, delay: 1}\nstructures: [a.cif]\ntimeout: 5\n")
    settings = read_check_file(path, "table")
    assert settings.config == {"path": str(tmp_path / "t.csv"), "delay": 1}
    assert settings.structures == (tmp_path / "a.cif",)
    for text, words in (("timeuot: 5", "timeuot"), ("- 1", "no settings"), ("a: [", "cannot")):
        path.write_text(text)
        with pytest.raises(SpecError, match=words):
            read_check_file(path, "table")
    with pytest.raises(SpecError, match="cannot be read"):
        read_check_file(tmp_path / "none.yaml", "table")


def test_an_integrator_may_say_what_to_make(tmp_path: Path) -> None:
    path = tmp_path / "mine.cif"
    path.write_text(perovskite(3.9, "Ba Ti O").to_cif())
    settings = CheckSettings(structures=(path,))
    with Bench("tests.lab_adapters.cheats:HonestLab", settings, tmp_path) as bench:
        assert bench.accepted().label == "BaTiO3"
    path.write_text("no crystal")
    with pytest.raises(InputError):
        Bench("tests.lab_adapters.cheats:HonestLab", settings, tmp_path)
