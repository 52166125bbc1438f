"""A small campaign on a lab that answers at once."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cloudseed.db import SqlLedger, open_ledger
from cloudseed.loop import Campaign, CampaignSpec
from cloudseed.loop.context import Context
from cloudseed.loop.pool import CrystalShelf, Pool, record_pool
from cloudseed.loop.proposing import propose_from
from cloudseed.loop.recipe import Recipe
from cloudseed.proposers import load_parents

# Fixtures of the ledger's tests, for what must hold on both databases.
from tests.db.conftest import (  # noqa: F401
    postgresql_session_url,
    postgresql_url,
    server,
    sqlite_template,
    sqlite_url,
    url,
)
from tests.loop import recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudseed.loop.proposing import Proposed
    from tests.loop.labs import InstantLab

PARENTS = Path(str(files("cloudseed.loop"))) / "templates" / "starter" / "parents"


def spec_of(**changes: object) -> CampaignSpec:
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


@pytest.fixture(scope="session")
def generation():
    return propose_from(Recipe.of(spec_of()), load_parents([PARENTS]), dialect="cloud")


def features_of(rows) -> np.ndarray:
    """Stands in for embeddings: what matters to `modulus`, and some noise."""
    rng = np.random.default_rng(0)
    codes = [[sum(map(ord, s)) % 40 for s in row.colouring] for row in rows]
    wide = np.array([[*code, sum(code)] for code in codes], dtype=np.float32)
    return np.hstack([wide, rng.normal(size=(len(rows), 8)).astype(np.float32)])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield ledger


@pytest.fixture
def either(url: str) -> Iterator[SqlLedger]:  # noqa: F811
    """A ledger without campaigns, in either database."""
    with open_ledger(url) as ledger:
        yield ledger


@pytest.fixture
def on_postgresql(postgresql_url: str) -> Iterator[SqlLedger]:  # noqa: F811
    """A ledger without campaigns in PostgreSQL."""
    with open_ledger(postgresql_url) as ledger:
        yield ledger


@pytest.fixture(scope="session")
def finished_template(generation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    with open_ledger(str(folder / "ledger.db")) as ledger:
        recorded.run(ledger, recorded.SPEC, generation)
    (folder / "campaign.json").write_text('{"campaign": "small", "ledger": null}')
    return folder


@pytest.fixture
def finished_run(finished_template: Path, tmp_path: Path) -> Path:
    """The run folder of a finished campaign, to be read or damaged."""
    folder = tmp_path / "run"
    shutil.copytree(finished_template, folder)
    return folder


@pytest.fixture
def finished(finished_run: Path) -> Iterator[SqlLedger]:
    """The ledger of that folder."""
    with open_ledger(str(finished_run / "ledger.db")) as ledger:
        yield ledger


@pytest.fixture
def campaign_on(ledger: SqlLedger, generation) -> Callable[..., object]:
    """Returns a context manager that opens the campaign on a lab; opened again, it resumes."""

    @contextmanager
    def start(
        lab: InstantLab, spec: CampaignSpec | None = None, made: Proposed = generation
    ) -> Iterator[Campaign]:
        wanted = spec or spec_of()
        row = ledger.campaign(wanted.name)
        if row is None:
            can = lab.describe()
            config = {
                "spec": wanted.model_dump(mode="json"),
                "parents": [],
                "lab": {"name": can.name, "simulated": can.simulated},
            }
            row = ledger.create_campaign(wanted.name, config)
        with ledger.claim(row.id) as claim:
            if not ledger.count_candidates(row.id):
                record_pool(ledger, claim, made)
            rows = ledger.candidates(row.id)
            pool = Pool(rows, features_of(rows), "test-encoder")
            yield Campaign(Context(ledger, claim, row, wanted, lab, pool, CrystalShelf(ledger)))

    return start
