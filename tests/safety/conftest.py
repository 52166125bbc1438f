"""A campaign on a lab that is real, as far as it says."""

from __future__ import annotations

import pytest

from cloudseed.loop.proposing import propose_from
from cloudseed.loop.recipe import Recipe
from cloudseed.proposers import load_parents
from tests.loop.conftest import campaign_on, ledger  # noqa: F401
from tests.loop.small import PARENTS, spec_of


@pytest.fixture(scope="session")
def generation():
    """A few candidates are enough here."""
    few = spec_of(proposer={"per_parent": 6})
    return propose_from(Recipe.of(few), load_parents([PARENTS]), dialect="cloud")
