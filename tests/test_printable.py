"""Text of others on a terminal."""

from __future__ import annotations

import pytest

from cloudseed._printable import printable


@pytest.mark.parametrize("bad", ["\n", "\x1b", "\r", "\x9b", "\u202e", "\u2028", "\x07", "\u200b"])
def test_what_moves_the_cursor_or_turns_text_round_is_written_out(bad: str) -> None:
    shown = printable(f"1373 K{bad}fine")
    assert bad not in shown
    assert shown.isprintable()
    assert shown.startswith("1373 K\\")


def test_all_else_stays_as_it_is() -> None:
    text = "Ba(OH)2·8H2O, 3 µm, Å, 鉄, 'quoted' [red]"
    assert printable(text) == text
    assert printable(1373.15) == "1373.15"
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
