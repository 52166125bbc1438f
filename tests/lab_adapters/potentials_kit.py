"""What the tests of the computed lab share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.crystal import Cell
from cloudseed.lab_adapters import Outcome, OutcomeKind
from cloudseed.lab_adapters.potentials import MlipSettings
from cloudseed.lab_adapters.potentials.calculators import load_calculator
from tests.lab_adapters import potentials
from tests.lab_adapters.kit import request

if TYPE_CHECKING:
    from pathlib import Path

# matcalc's own sums, which are not used, hold the modes that ours leave out.
QUIET = [
    pytest.mark.filterwarnings("ignore:.*acoustic"),
    pytest.mark.filterwarnings("ignore:PhonopyQHA is deprecated"),
]

QUASI_HARMONIC = ("bulk_modulus", "gibbs_energy", "heat_capacity_p", "thermal_expansion", "volume")


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs the cheap potentials, here and for worker processes."""
    folder = tmp_path / "site"
    potentials.install(folder)
    monkeypatch.syspath_prepend(str(folder))
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in paths if p))
    load_calculator.cache_clear()


def primitive(symbol: str, a: float) -> Cell:
    """Returns the primitive cell of a face-centred metal; `a` in angstrom."""
    h = a / 2
    return Cell(((0.0, h, h), (h, 0.0, h), (h, h, 0.0)), (symbol,), ((0.0, 0.0, 0.0),))


def simple_cubic(symbol: str, a: float) -> Cell:
    return Cell(((a, 0.0, 0.0), (0.0, a, 0.0), (0.0, 0.0, a)), (symbol,), ((0.0, 0.0, 0.0),))


def face_centred(symbol: str, a: float) -> Cell:
    places = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5))
    return Cell(((a, 0.0, 0.0), (0.0, a, 0.0), (0.0, 0.0, a)), (symbol,) * 4, places)


def measure(cell: Cell, *properties: str, **settings: Any) -> Outcome:
    """Runs the worker's task in this process."""
    from cloudseed.lab_adapters.potentials import task

    values = {"calculator": "emt", **settings}
    options = MlipSettings.model_validate(values).model_dump(mode="json")
    return task.measure(request(cell=cell, properties=properties).to_json(), options)


def numbers(outcome: Outcome) -> dict[str, float]:
    assert outcome.kind is OutcomeKind.MEASURED, outcome.reason
    return {m.property: m.value for m in outcome.measurements}


def check(outcome: Outcome, kind: str, words: str) -> dict[str, Any]:
    assert outcome.measurements == ()
    assert words in outcome.reason
    told = outcome.details["breakdown"]
    assert told["kind"] == kind
    assert Outcome.from_json(outcome.to_json()) == outcome
    return dict(told)
