"""Campaigns run to their end on either database, with embeddings that the ledger holds."""

from __future__ import annotations

import hashlib
import zlib
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cloudseed.lab_adapters import Outcome, OutcomeKind
from cloudseed.loop import Campaign, CampaignSpec, collecting
from cloudseed.loop import campaign as module
from cloudseed.loop.context import Context
from cloudseed.loop.pool import CrystalShelf, Pool, record_pool
from tests.loop.labs import InstantLab, modulus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENCODER = "test-encoder"
PARENTS = Path(str(files("cloudseed.loop"))) / "templates" / "starter" / "parents"


def spec_of(**changes: object) -> CampaignSpec:
    """A campaign of fifteen measurements, the first six to cover the pool."""
    values: dict[str, object] = {
        "name": "small",
        "parents": [str(PARENTS)],
        "objective": "max bulk_modulus",
        "constraints": ["formation_energy <= -2.0 eV/atom"],
        "proposer": {"per_parent": 60},
        "budget": {"experiments": 15, "unsuccessful": 1000},
        "initial": 6,
        "batch": 2,
        "decide": {"exploration": 0.3},
        "seed": 3,
    }
    return CampaignSpec.model_validate(values | changes)


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


@contextmanager
def opened(ledger, spec, lab, generation) -> Iterator[Campaign]:
    """A campaign on a ledger, ready to step; opened again, it resumes."""
    row = ledger.campaign(spec.name)
    if row is None:
        can = lab.describe()
        config = {
            "spec": spec.model_dump(mode="json"),
            "parents": [],
            "lab": {"name": can.name, "simulated": can.simulated},
        }
        row = ledger.create_campaign(spec.name, config)
    with ledger.claim(row.id) as claim:
        if not ledger.count_candidates(row.id):
            record_pool(ledger, claim, generation)
        rows = ledger.candidates(row.id)
        strings = [r.scope for r in rows]
        ledger.put_embeddings(ENCODER, strings, embeddings_of(strings))
        pool = Pool(rows, embeddings_of(strings), ENCODER)
        yield Campaign(Context(ledger, claim, row, spec, lab, pool, CrystalShelf(ledger)))
