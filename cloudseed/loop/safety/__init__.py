"""What must hold before anything goes to a real lab.

Closed by default: a lab that is not simulated gets only what every check lets through and, of a new
kind, only what a person has approved. All of it is advice to software; see docs/safety.md.
"""

from cloudseed.loop.safety.facts import Facts, read_facts
from cloudseed.loop.safety.limits import SafetySpec

__all__ = ["Facts", "SafetySpec", "read_facts"]
