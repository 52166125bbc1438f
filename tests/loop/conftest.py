"""A small campaign on a lab that answers at once."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from cloudseed.db import SqlLedger, open_ledger
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
from tests.loop.small import PARENTS, opened, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cloudseed.loop import Campaign, CampaignSpec
    from cloudseed.loop.proposing import Proposed
    from tests.loop.labs import InstantLab


@pytest.fixture(scope="session")
def generation():
    return propose_from(Recipe.of(spec_of()), load_parents([PARENTS]), dialect="cloud")


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
def campaign_on(ledger: SqlLedger, generation) -> Callable[..., AbstractContextManager[Campaign]]:
    """Returns a context manager that opens the campaign on a lab; opened again, it resumes."""

    def start(
        lab: InstantLab, spec: CampaignSpec | None = None, made: Proposed = generation
    ) -> AbstractContextManager[Campaign]:
        return opened(ledger, spec or spec_of(), lab, made)

    return start
