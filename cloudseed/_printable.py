"""What others say, as a terminal can show it without being told what to do."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: object, *, keep: str = "") -> str:
    r"""Returns text in which control and format characters are written out, such as `\x1b`.

    A line break or an escape sequence in a lab's string could else look like a line of ours.

    Args:
        text: What somebody said.
        keep: Such characters that stay.

    >>> printable("hot\n\x1b[2Kapproved")
    'hot\\n\\x1b[2Kapproved'
    """
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode()
        for each in str(text)
    )
