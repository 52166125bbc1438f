from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from cloudseed.lab_adapters import Outcome, OutcomeKind, load_lab
from cloudseed.lab_adapters.mlip import chgnet_references
from tests.lab_adapters import potentials_kit
from tests.lab_adapters.kit import perovskite, request

if TYPE_CHECKING:
    from pathlib import Path

    from cloudseed.crystal import Cell

EVERYTHING = ("formation_energy", "bulk_modulus", "volume", "energy")


measure = partial(potentials_kit.measure, calculator="chgnet")


@pytest.fixture(scope="module")
def strontium_titanate() -> Outcome:
    return measure(perovskite(), *EVERYTHING)


def test_references_cover_the_potential() -> None:
    references = chgnet_references()
    assert len(references) >= 85
    assert references["O"] == pytest.approx(-4.935, abs=0.002)
    assert "Po" not in references


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    lab = load_lab("mlip", {"max_sites": 4}, tmp_path)
    verdict = lab.validate(request(cell=perovskite(4, "Ra Po O"), properties=("band_gap",)))
    assert verdict.reasons == (
        "it cannot measure band_gap",
        "CHGNet has no reference energy for Po, Ra",
        "5 atoms are more than the 4 it takes",
    )
    assert not verdict.accepted


@pytest.mark.slow
def test_strontium_titanate(strontium_titanate: Outcome) -> None:
    """Against CHGNet runs of other settings: fmax 0.01, 11 points, shape free."""
    assert strontium_titanate.kind is OutcomeKind.MEASURED
    values = {m.property: m for m in strontium_titanate.measurements}
    assert tuple(values) == EVERYTHING
    assert values["formation_energy"].value == pytest.approx(-3.575, abs=0.01)
    assert values["bulk_modulus"].value == pytest.approx(166.5, rel=0.02)
    assert values["volume"].value == pytest.approx(12.27, rel=0.005)
    assert values["energy"].value == pytest.approx(-8.4236, abs=0.001)
    assert {n: m.unit for n, m in values.items()} == {
        "formation_energy": "eV/atom",
        "bulk_modulus": "GPa",
        "volume": "angstrom^3/atom",
        "energy": "eV/atom",
    }
    assert all(m.sigma and m.method for m in values.values())
    assert strontium_titanate.cell is not None
    assert strontium_titanate.cell.volume ** (1 / 3) == pytest.approx(3.946, abs=0.005)
    assert Outcome.from_json(strontium_titanate.to_json()) == strontium_titanate


@pytest.mark.slow
def test_the_same_request_gives_the_same_bytes(strontium_titanate: Outcome) -> None:
    again = measure(perovskite(), *EVERYTHING)
    assert again.to_json() == strontium_titanate.to_json()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "settings", "words"),
    [
        (perovskite(3.9, "Cs B I"), {}, "exploded"),
        (perovskite(7.5), {}, "collapsed"),
        (perovskite(4.3), {"max_steps": 1}, "did not come to rest within 1 steps"),
        (perovskite(), {"r2_min": 0.9999999}, "no equation of state fits"),
    ],
)
def test_what_does_not_hold_together_is_infeasible(
    cell: Cell, settings: dict[str, object], words: str
) -> None:
    outcome = measure(cell, "bulk_modulus", **settings)
    assert outcome.kind is OutcomeKind.INFEASIBLE
    assert words in outcome.reason
    assert outcome.measurements == ()
