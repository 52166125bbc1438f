"""Real structures for tests: Materials Project crystals outside the repository."""

import csv
import gzip
import os
from functools import cache
from pathlib import Path

import pytest

DATA = Path(os.environ.get("CLOUDSEED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@cache
def materials_project(count: int, part: int = 0) -> tuple[dict[str, str], ...]:
    """The first rows of one part of the table, as columns -> text; skips where it is absent."""
    path = DATA / f"mp_structures_{part}.csv.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not in {DATA}; set CLOUDSEED_DATA to where it is")
    with gzip.open(path, "rt", newline="") as stream:
        return tuple(row for row, _ in zip(csv.DictReader(stream), range(count), strict=False))
