"""The papers of a kept candidate: where it comes from, what was asked of it, how to make it again.

Nothing here is written before it is asked for: a generation holds a million candidates as arrays.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudseed.proposers.protocols import Candidate, FilterResult

__all__ = ["Kept", "Origin", "settings_of", "sha256_of"]


@dataclass(frozen=True, slots=True)
class Origin:
    """One way in which a crystal was proposed.

    Attributes:
        candidate: The candidate as proposed.
        proposer: Name of the proposer; "parents" for the parents themselves.
        version: Its version.
        sha256: Of its name, version and settings.
        stream: Entropy and key of the random generator that it was given for this parent.
    """

    candidate: Candidate
    proposer: str
    version: str
    sha256: str = ""
    stream: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the origin as plain values."""
        made = self.candidate
        orbits = made.orbit_map or range(len(made.crystal.colouring))
        return {
            "parents": list(made.parents),
            "root": made.crystal.root.sha,
            "colouring": list(made.crystal.colouring),
            "orbit_map": list(orbits),
            "operation": made.operation.name,
            "arguments": dict(made.operation.arguments),
            "log_probability": made.log_probability,
            "probability_kind": made.probability_kind,
            "rank": made.rank,
            "depth": made.depth,
            "proposer": self.proposer,
            "proposer_version": self.version,
            "proposer_sha256": self.sha256,
            "stream": list(self.stream),
        }


@dataclass(frozen=True)
class Kept:
    """A candidate that passed, with its papers.

    Attributes:
        origins: Every way in which the crystal was proposed, the likeliest of the first proposer
            first.
        results: What the filters said, in order.
        seed: Entropy of the random generator, as text.
        config_sha256: Of everything that decides the generation but parents and known crystals.
        chosen: Why it was taken: "all", "likeliest" or "exploration".
    """

    origins: tuple[Origin, ...]
    results: tuple[FilterResult, ...]
    seed: str
    config_sha256: str = ""
    chosen: str = "all"

    @property
    def candidate(self) -> Candidate:
        """The first proposal of this crystal."""
        return self.origins[0].candidate

    @cached_property
    def key(self) -> str:
        """What makes two candidates the same."""
        return self.candidate.key

    def papers(self) -> dict[str, Any]:
        """Returns where the candidate comes from, as plain JSON values."""
        return {
            "key": self.key,
            "formula": self.candidate.crystal.formula,
            "origins": [origin.to_json() for origin in self.origins],
            "filters": [result.to_json() for result in self.results],
            "seed": self.seed,
            "config_sha256": self.config_sha256,
            "chosen": self.chosen,
        }


def settings_of(thing: object) -> dict[str, Any]:
    """Returns the public settings of a proposer or filter, as JSON values.

    Fields of a dataclass that its comparison leaves out, such as a number of workers, decide
    nothing and are no settings; name and version are, wherever they are defined.
    """
    if dataclasses.is_dataclass(thing):
        names = [field.name for field in dataclasses.fields(thing) if field.compare]
    else:
        names = list(getattr(thing, "__dict__", {}))
    names += [name for name in ("name", "version") if hasattr(thing, name)]
    found = {name: getattr(thing, name) for name in names if not name.startswith("_")}
    return {name: _plain(value) for name, value in sorted(found.items())}


def _plain(value: object) -> Any:
    """Returns a value as JSON takes it; sets in order, nested proposers by their settings."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(str(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {"type": type(value).__name__, **settings_of(value)}


def sha256_of(value: object) -> str:
    """Returns the SHA-256 of a value's JSON form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()
