"""How predictions came true, and what the next decision makes of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import ndtri

from cloudseed.db import ExperimentState
from cloudseed.loop import planning
from cloudseed.loop.calibrating import prospective, widths
from cloudseed.surrogate import recalibration
from tests.loop.labs import InstantLab
from tests.loop.small import spec_of

Z = ndtri((np.arange(40) + 0.5) / 40)


def campaign(z, sd=1.0, width=1.0, noise=0.0):
    """Results whose errors are `z`, and the decisions that predicted them."""
    found = [
        SimpleNamespace(
            experiment=SimpleNamespace(id=i, state=ExperimentState.MEASURED),
            at=i + 1,
            step=0,
            predicted={"x": (10.0, sd), "gap": (1.0, 1.0)},
            value={"x": 10.0 + error, "gap": 0.0}.get,
        )
        for i, error in enumerate(z)
    ]
    model = {"surrogates": {"x": {"noise": noise, "scale": 2.0}, "gap": {"floor": 0.0}}}
    if width != 1:
        model["recalibrated"] = {"x": width}
    return found, [SimpleNamespace(step=0, model=model)]


def test_figures_by_hand():
    (found,) = prospective(*campaign([1.0, -3.0], sd=0.6, noise=0.16), 40).values()
    # The noise's standard deviation is 0.8, so that of a measured value is 1.
    assert (found.count, found.coverage90, found.width) == (2, 0.5, 1.0)
    assert found.sharpness == pytest.approx(1.0)
    assert found.nlpd == pytest.approx(0.5 * np.log(2 * np.pi) + 2.5)
    assert prospective([], [], 40) == {}


def test_widths_are_judged_of_the_model_as_it_is():
    plain = widths(*campaign(2.5 * Z), 40)
    assert plain == {"x": pytest.approx(recalibration(2.5 * Z))}
    assert plain["x"] > 1.3
    # The same errors under intervals that were mended already say the same of the model.
    mended = widths(*campaign(2.5 * Z, sd=2.5, width=2.5), 40)
    assert mended == pytest.approx(plain)
    assert widths(*campaign(Z), 40) == {}
    assert widths(*campaign(2.5 * Z), 0) == {}
    assert widths(*campaign(np.concatenate([9 * Z, Z])), 40) == {}


def test_a_campaign_takes_its_intervals_wider_and_records_it(campaign_on, ledger, monkeypatch):
    monkeypatch.setattr(planning, "widths", lambda *_: {"bulk_modulus": 2.0})
    with campaign_on(InstantLab(), spec_of(initial=4, batch=4)) as engine:
        end = engine.run()
    decision = ledger.decisions(1)[-1]
    assert decision.model["recalibrated"] == {"bulk_modulus": 2.0}
    assert any("times 2.00" in note for note in decision.notes)
    told = end.to_json()["prospective"]
    assert told["bulk_modulus"]["count"] == 6
    assert 0 <= told["bulk_modulus"]["coverage90"] <= 1
