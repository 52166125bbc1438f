"""Campaigns run to their end on either database, with embeddings that the ledger holds."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cloudseed.lab_adapters import Outcome, OutcomeKind
from cloudseed.loop import campaign as module
from cloudseed.loop import collecting
from tests.loop import small
from tests.loop.labs import InstantLab, modulus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from cloudseed.loop import Campaign, CampaignSpec


def spec_of(**changes: object) -> CampaignSpec:
    """A campaign of fifteen measurements, the first six to cover the pool."""
    values: dict[str, object] = {
        "budget": {"experiments": 15, "unsuccessful": 1000},
        "initial": 6,
        "batch": 2,
        "decide": {"exploration": 0.3},
    }
    return small.spec_of(**(values | changes))


SPEC = spec_of()


def answer(request):
    """Some cannot be made, and some come at the second attempt."""
    kind = zlib.crc32(request.candidate.encode()) % 5
    if kind == 0:
        return Outcome(OutcomeKind.INFEASIBLE, reason="it fell apart")
    if kind == 1 and request.key.endswith("-1"):
        return Outcome(OutcomeKind.FAILED_RETRYABLE, reason="no vacuum")
    return modulus(request)


def run(ledger, spec, generation):
    """Runs a campaign to its end."""
    with (
        pytest.MonkeyPatch.context() as patch,
        opened(ledger, spec, InstantLab(answer), generation) as campaign,
    ):
        patch.setattr(module, "POLL_INTERVAL", 0.001)
        patch.setattr(collecting, "RETRY_PAUSE", 0.0)
        return campaign.run()


def embeddings_of(strings: Sequence[str]) -> np.ndarray:
    """Stands in for an encoder: equal strings have equal vectors, similar ones similar."""
    rows = []
    for string in strings:
        seed = int.from_bytes(hashlib.sha256(string.encode()).digest()[:4], "little")
        noise = np.random.default_rng(seed).normal(size=6)
        letters = np.bincount([ord(c) % 10 for c in string if c.isalpha()], minlength=10)
        rows.append(np.concatenate([letters, noise]))
    return np.array(rows, dtype=np.float32)


def opened(ledger, spec, lab, generation) -> AbstractContextManager[Campaign]:
    """A campaign on a ledger, ready to step; opened again, it resumes."""

    def kept(rows):
        strings = [row.scope for row in rows]
        vectors = embeddings_of(strings)
        ledger.put_embeddings(small.ENCODER, strings, vectors)
        return vectors

    return small.opened(ledger, spec, lab, generation, kept)
