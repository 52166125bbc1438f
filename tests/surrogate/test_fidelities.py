"""Cheap and dear values of one property: what one says of the other, and too few of either."""

import json

import numpy as np
import pytest

from cloudseed.errors import InputError
from cloudseed.surrogate import Observations, Strategy, decide, gp, parse_problem
from cloudseed.surrogate.fidelities import fit_fidelities

RNG = np.random.default_rng(0)
X = RNG.random((60, 3))
CHEAP = np.sin(4 * X[:, 0]) + X[:, 1] ** 2
DEAR = 3.0 + 2.0 * CHEAP + 0.2 * X[:, 2]
NEW = RNG.random((100, 3))
TRUTH = 3.0 + 2.0 * (np.sin(4 * NEW[:, 0]) + NEW[:, 1] ** 2) + 0.2 * NEW[:, 2]
ROWS = np.append(np.arange(6), np.arange(54))
SOURCE = np.append(np.zeros(6, dtype=int), np.ones(54, dtype=int))
VALUES = np.where(SOURCE == 0, DEAR[ROWS], CHEAP[ROWS])


@pytest.fixture(scope="module")
def model():
    return fit_fidelities(X[ROWS], VALUES, SOURCE, seed=0, name="a")


def test_cheap_values_teach_of_dear_ones(model):
    alone = gp.fit(X[:6], DEAR[:6], seed=0)
    both, few = (np.abs(m.posterior_moments(NEW)[0] - TRUTH).mean() for m in (model, alone))
    assert both < 0.5 * few
    told = json.loads(json.dumps(dict(model.summary)))
    assert told["values"] == [6, 54]
    assert told["correlations"][1] > 0.8


def test_the_posterior_is_that_of_the_asked_source(model):
    mean, sd = model.posterior_moments(NEW)
    joint, covariance = model.standardised_joint(NEW)
    np.testing.assert_allclose(model.centre + model.scale * joint, mean, atol=1e-9)
    np.testing.assert_allclose(model.scale * np.sqrt(np.diag(covariance)), sd, atol=1e-6)
    own, _ = model.posterior_moments(X[:6])
    np.testing.assert_allclose(own, DEAR[:6], atol=0.5)
    assert len(model.left_out.targets) == 6
    far = model.posterior_moments(NEW + 1e3)[1]
    assert (far > sd).all()


def test_too_few_values_of_a_source_are_modelled_without_it():
    single = fit_fidelities(X[:8], DEAR[:8], np.zeros(8, dtype=int), seed=0, name="a")
    assert single.hyper == gp.fit(X[:8], DEAR[:8], seed=0).hyper
    only = fit_fidelities(X[:8], CHEAP[:8], np.ones(8, dtype=int), seed=0, name="a")
    assert "0 values of a from the source asked for" in only.notes[-1]
    lengths = {"seed": 0, "name": "a"}
    with pytest.raises(InputError, match="1 sources for 2 values"):
        fit_fidelities(X[:2], DEAR[:2], np.zeros(1, dtype=int), **lengths)


def test_the_same_values_give_the_same_model():
    import torch

    torch.manual_seed(1)
    one = fit_fidelities(X[ROWS], VALUES, SOURCE, seed=0, name="a")
    torch.manual_seed(2)
    other = fit_fidelities(X[ROWS], VALUES, SOURCE, seed=0, name="a")
    assert one.summary == other.summary
    assert (one.posterior_moments(X)[0] == other.posterior_moments(X)[0]).all()


@pytest.mark.parametrize("sources", [2, 3])
def test_drawn_functions_have_the_posterior_s_moments(sources):
    # The third source measures something of its own besides.
    source = np.repeat([0, 1, 2][:sources], [8, 40, 16][:sources])
    rows = np.concatenate([np.arange(8), np.arange(40), np.arange(20, 36)])[: len(source)]
    noise = 0.1 * np.random.default_rng(1).normal(size=len(rows))
    values = np.choose(source, [DEAR[rows], CHEAP[rows], X[rows, 2] - CHEAP[rows]]) + noise
    found = fit_fidelities(X[rows], values, source, seed=0, name="a")
    points = np.concatenate([NEW[:12], X[:3], X[30:33]])
    drawn = gp.draw_functions(found, 1500, seed=3)(points)
    mean, sd = found.posterior_moments(points)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.02 * found.scale)
    np.testing.assert_allclose(drawn.std(axis=0), sd, atol=0.06 * found.scale)
    assert found.mixing.shape == (len(rows), sources)
    np.testing.assert_allclose(found.mixing[source == 0], np.eye(sources)[[0] * 8], atol=1e-6)


def test_draws_choose_what_cheap_values_promise():
    known = Observations(ROWS, VALUES[:, None], ("a",), source=SOURCE)
    pool = np.concatenate([X, NEW])
    asked = {"available": np.arange(60, 160), "problem": parse_problem("max a"), "batch": 8}
    drawn = decide(pool, known, seed=0, strategy=Strategy("thompson"), **asked)
    assert drawn.model["surrogates"]["a"]["kind"] == "fidelities"
    assert TRUTH[np.array(drawn.picks) - 60].mean() > np.quantile(TRUTH, 0.9)
