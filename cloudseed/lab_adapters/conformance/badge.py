"""A badge for a README: what the kit found, as a small SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from cloudseed.lab_adapters.conformance.running import Verdict

if TYPE_CHECKING:
    from cloudseed.lab_adapters.conformance.running import Report

__all__ = ["badge"]

_LETTER = 6.6
"""Width of a letter at 11 pixels, on average."""


def badge(report: Report) -> str:
    """Returns the badge of a report."""
    passed, failed = report.count(Verdict.PASS), report.count(Verdict.FAIL)
    verdict = f"{passed} kept" if report.passed else f"{failed} broken, {passed} kept"
    colour = "#2e7d32" if report.passed else "#c62828"
    label = f"cloudseed lab: {report.adapter}"
    left, right = (round(_LETTER * len(text)) + 14 for text in (label, verdict))
    middle, centre = left / 2, left + right / 2
    title = escape(f"{label}: {verdict}, {report.at:%Y-%m-%d}")
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img">
<title>{title}</title>
<rect width="{left}" height="20" fill="#444"/>
<rect x="{left}" width="{right}" height="20" fill="{colour}"/>
<g fill="#fff" font-family="Verdana,sans-serif" font-size="11" text-anchor="middle">
<text x="{middle:g}" y="14">{escape(label)}</text>
<text x="{centre:g}" y="14">{escape(verdict)}</text>
</g>
</svg>
"""
