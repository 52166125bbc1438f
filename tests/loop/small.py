"""A small campaign: its spec, and its opening on any ledger and lab."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.loop import Campaign, CampaignSpec
from cloudseed.loop.context import Context
from cloudseed.loop.pool import CrystalShelf, Pool, record_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cloudseed.db import CandidateRow, Ledger
    from cloudseed.loop.proposing import Proposed
    from tests.loop.labs import InstantLab

ENCODER = "test-encoder"
PARENTS = Path(str(files("cloudseed.loop"))) / "templates" / "starter" / "parents"


def spec_of(**changes: object) -> CampaignSpec:
    """Ten measurements, all of them chosen for coverage."""
    values: dict[str, object] = {
        "name": "small",
        "parents": [str(PARENTS)],
        "objective": "max bulk_modulus",
        "constraints": ["formation_energy <= -2.0 eV/atom"],
        "proposer": {"per_parent": 60},
        "budget": {"experiments": 10},
        "initial": 1000,
        "seed": 3,
    }
    return CampaignSpec.model_validate(values | changes)


def features_of(rows: Sequence[CandidateRow]) -> np.ndarray:
    """Stands in for embeddings: what matters to `modulus`, and some noise."""
    rng = np.random.default_rng(0)
    codes = [[sum(map(ord, s)) % 40 for s in row.colouring] for row in rows]
    wide = np.array([[*code, sum(code)] for code in codes], dtype=np.float32)
    return np.hstack([wide, rng.normal(size=(len(rows), 8)).astype(np.float32)])


@contextmanager
def opened(
    ledger: Ledger,
    spec: CampaignSpec,
    lab: InstantLab,
    generation: Proposed,
    features: Callable[[Sequence[CandidateRow]], np.ndarray] = features_of,
) -> Iterator[Campaign]:
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
        pool = Pool(rows, features(rows), ENCODER, shelf=CrystalShelf(ledger))
        yield Campaign(Context(ledger, claim, row, spec, lab, pool, CrystalShelf(ledger)))
