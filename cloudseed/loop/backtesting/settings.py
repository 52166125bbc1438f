"""What a back-test is run with."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudseed import __version__
from cloudseed.errors import UsageError
from cloudseed.surrogate import describe
from cloudseed.surrogate.backtesting import HIT_SHARE, PEERS, SEARCHERS, source_of

if TYPE_CHECKING:
    from pathlib import Path

    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.surrogate.backtesting import StartKind

__all__ = ["FEASIBLE", "REPLAYS", "BacktestSettings", "parse_share"]

FEASIBLE = "feasible"
"""What is written in place of a share of hits where all that is feasible is a hit."""

REPLAYS = 2
"""Which meaning replays have; kept runs of another are not used.

Raise it in every change by which a run of equal settings would choose or tell something else: of
deciding, of the models, of a method of cloudseed's own, or of how a replay spends a budget. The
version alone does not tell states of the program between two releases apart.
"""

_SHARE = re.compile(r"\s*(?P<number>\d+\.?\d*|\.\d+)\s*(?P<percent>%?)\s*")


@dataclass(frozen=True, slots=True)
class BacktestSettings:
    """What a back-test is run with, beside the campaign file.

    Attributes:
        methods: Names of searchers, or "module:name" of one's own.
        seeds: Campaigns per method.
        budget: Experiments per campaign; None for the campaign file's.
        share: Share of the feasible materials, best first, that are hits; None for all of them.
        start: How the first experiments are chosen.
        arriving: Results that come at a time; None for a whole batch.
        features: A .npy matrix, rows as in the table, in place of embeddings.
        skip_bad: Whether to leave out materials that cannot be used.
        workers: Processes.
        heads: Whether the encoder's heads may be the prior mean, where the campaign wants them.
    """

    methods: tuple[str, ...] = ("cloud", "greedy", "random")
    seeds: int = 20
    budget: int | None = None
    share: float | None = HIT_SHARE
    start: StartKind = "coverage"
    arriving: int | None = None
    features: Path | None = None
    skip_bad: bool = False
    workers: int = 1
    heads: bool = True

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.workers < 1 or not self.methods:
            raise UsageError(
                "A back-test needs a method, a seed and a worker.", hint="Give at least one each."
            )

    def sha(self, spec: CampaignSpec, pool_sha: str, method: str) -> str:
        """Returns a hash of all that a run depends on besides its method's name and its seed.

        Of a method of the user's own that includes its source.
        """
        parts = {
            "goal": describe(spec.problem),
            "budget": self.budget or spec.budget.experiments,
            "batch": spec.batch,
            "initial": spec.initial,
            "decide": spec.decide.model_dump(),
            "start": self.start,
            "arriving": self.arriving,
            "pool": pool_sha,
            "version": __version__,
            "replays": REPLAYS,
            "surrogate": spec.surrogate.model_dump(mode="json"),
            "heads": self.heads,
        }
        if method not in {*SEARCHERS, *PEERS}:
            parts["source"] = source_of(method)
        # What an outlook asks is part of a run; when the rule fires is worked out afterwards.
        if spec.stop.expected_hits:
            parts["ahead"] = spec.stop.expected_hits.next
        if spec.stop.regret:
            parts["epsilon"] = spec.stop.regret.epsilon
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def parse_share(text: str) -> float | None:
    """Reads "1%", "0.01" or "feasible", which gives None.

    Raises:
        UsageError: If the text is none of these.

    >>> parse_share("2.5 %")
    0.025
    """
    if text.strip() == FEASIBLE:
        return None
    found = _SHARE.fullmatch(text)
    share = float(found["number"]) / (100 if found["percent"] else 1) if found else 0.0
    if not 0 < share <= 1:
        raise UsageError(
            f"{text!r} is no share of hits.",
            hint=f"Write 1%, or 0.01, or {FEASIBLE} if all that meets the constraints is a hit.",
        )
    return share
