"""Hints on gaps of small and large pools, before and after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloudseed.loop import hints
from cloudseed.loop.hints import GapHints
from cloudseed.surrogate import shell_penalties

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "1 4 b O O O c O O O d O O O e O O O 0 | 1a 1b 3c | "
STRINGS = [
    f"{HEAD}{a} 0.2 {b} 0.2 {x} 0.6" for a in ("Sr", "La") for b in ("Ti", "Mn") for x in "OFN"
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Strings whose penalties were worked out."""
    found: list[str] = []

    def counted(strings: list[str]) -> object:
        found.extend(strings)
        return shell_penalties(strings)

    monkeypatch.setattr(hints, "shell_penalties", counted)
    return found


def test_a_pool_that_grows_has_only_the_new_ones_worked_out(asked: list[str]) -> None:
    gaps = GapHints()
    first = gaps.of(STRINGS[:7])
    assert first.tolist() == (-shell_penalties(STRINGS[:7])).tolist()
    assert gaps.of(STRINGS).tolist() == (-shell_penalties(STRINGS)).tolist()
    assert gaps.of(STRINGS).tolist() == (-shell_penalties(STRINGS)).tolist()
    assert asked == STRINGS


def test_a_large_pool_has_its_hints_after_a_restart(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "LARGE_POOL", 5)
    first = GapHints(tmp_path).of(STRINGS[:8])
    assert asked == STRINGS[:8]
    again = GapHints(tmp_path).of(STRINGS)
    assert asked == STRINGS
    assert again.tolist() == (-shell_penalties(STRINGS)).tolist()
    assert first.tolist() == again[:8].tolist()


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "LARGE_POOL", 5)
    (tmp_path / "file").write_text("in the way")
    found = GapHints(tmp_path / "file").of(STRINGS)
    assert found.tolist() == (-shell_penalties(STRINGS)).tolist()
