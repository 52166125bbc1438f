import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudseed.errors import EmptyPoolError, FitError, InputError
from cloudseed.surrogate import deciding
from cloudseed.surrogate.deciding import decide, space_fill
from cloudseed.surrogate.objectives import problem
from cloudseed.surrogate.protocols import Observations

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(200, 6)).astype(np.float32)
A = FEATURES[:, 0] - 0.5 * FEATURES[:, 1] ** 2
B = FEATURES[:, 2] + 0.0
VALUES = np.column_stack([A, B]).astype(np.float64)
EVERY = np.arange(200)


def observed(rows, values=VALUES, properties=("a", "b")):
    rows = np.asarray(rows, dtype=np.int64)
    return Observations(rows, values[rows].reshape(len(rows), len(properties)), properties)


def choose(observations, *, goal="max a", constraints=(), **changes):
    asked = {"available": EVERY, "pending": (), "batch": 4, "seed": 0} | changes
    return decide(FEATURES, observations, problem=problem(goal, constraints), **asked)


@pytest.mark.parametrize("known", [0, 1, 2])
def test_few_values_fill_space(known):
    choice = choose(observed(range(known)))
    assert choice.method == "space_filling"
    assert choice.scores is None
    assert len(set(choice.picks)) == 4
    assert f"{known} values" in choice.notes[0]


def test_values_that_are_missing_do_not_count():
    values = VALUES.copy()
    values[:30, 0] = np.nan
    assert choose(observed(range(30), values)).method == "space_filling"
    assert choose(observed(range(33), values)).method == "LogNEI"


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sets(st.integers(0, 59), min_size=1, max_size=30),
    st.sets(st.integers(0, 59), max_size=12),
    st.sets(st.integers(0, 59), max_size=12),
    st.integers(1, 6),
)
def test_measured_and_pending_are_never_picked(available, measured, pending, batch):
    free = available - measured - pending
    ask = {"available": sorted(available), "pending": sorted(pending), "batch": batch}
    if not free:
        with pytest.raises(EmptyPoolError):
            choose(observed(sorted(measured)), **ask)
        return
    choice = choose(observed(sorted(measured)), constraints=["b <= 1"], **ask)
    assert set(choice.picks) <= free
    assert len(choice.picks) == len(set(choice.picks)) == min(batch, len(free))
    if choice.scores is not None:
        assert sorted(choice.scores.rows) == sorted(free)


def test_scores_are_complete_and_sorted():
    choice = choose(observed(range(30)), constraints=["b <= 1"], pending=[31, 40])
    scores = choice.scores
    assert scores.properties == ("a", "b")
    assert scores.mean.shape == scores.sd.shape == (168, 2)
    assert (np.diff(scores.acquisition) <= 0).all()
    assert ((scores.feasible >= 0) & (scores.feasible <= 1)).all()
    assert np.corrcoef(scores.mean[:, 0], A[scores.rows])[0, 1] > 0.8
    assert np.isfinite(scores.acquisition).all()


def test_equal_input_and_seed_give_equal_picks():
    torch.manual_seed(1)
    first = choose(observed(range(30)), constraints=["b <= 1"], pending=[50])
    torch.manual_seed(2)
    np.random.seed(3)
    shuffled = EVERY[::-1]
    second = choose(observed(range(30)), constraints=["b <= 1"], pending=[50], available=shuffled)
    assert first.picks == second.picks
    np.testing.assert_array_equal(first.scores.acquisition, second.scores.acquisition)
    assert json.dumps(first.model) == json.dumps(second.model)


def test_seeds_differ_in_space_filling():
    picks = {choose(observed([]), seed=s).picks for s in range(5)}
    assert len(picks) > 1


@pytest.mark.parametrize(("goal", "best"), [("max a", max), ("min a", min)])
def test_model_finds_better_than_chance(goal, best):
    choice = choose(observed(range(60)), goal=goal, batch=8)
    found = best(A[list(choice.picks)])
    reach = np.quantile(A[60:], 0.95 if best is max else 0.05)
    assert found >= reach if best is max else found <= reach


def test_objective_direction_mirrors():
    mirrored = np.column_stack([-A, B]).astype(np.float64)
    up = choose(observed(range(30)), goal="max a")
    down = choose(observed(range(30), mirrored), goal="min a")
    assert up.picks == down.picks


def test_pending_twin_is_left_alone_in_every_place_of_the_batch():
    twins = np.concatenate([FEATURES, FEATURES])
    ask = {"problem": problem("max a"), "batch": 4, "seed": 0, "available": np.arange(60, 200)}
    first = decide(twins, observed(range(60)), **ask).picks[0]
    ask["available"] = np.append(np.arange(60, 200), 200 + first)
    picks = decide(twins, observed(range(60)), pending=[first], **ask).picks
    assert first not in picks
    assert 200 + first not in picks


def test_pending_changes_the_initial_design():
    ask = {"available": EVERY, "batch": 3, "seed": 1}
    first = space_fill(FEATURES, observed([]), **ask)
    second = space_fill(FEATURES, observed([]), pending=first.picks, **ask)
    assert not set(first.picks) & set(second.picks)
    assert not first.notes


def test_constraint_without_a_feasible_value_leads_there():
    dark = np.flatnonzero(B < 0)[:40]
    choice = choose(observed(dark), constraints=["b >= 1.5"])
    assert any("nothing feasible" in note for note in choice.notes)
    assert B[list(choice.picks)].mean() > 1


def test_unmeasured_constraint_is_noted_and_left_out():
    values = np.column_stack([A, np.full(200, np.nan)])
    choice = choose(observed(range(20), values), constraints=["b >= 1.5"])
    assert any("b was never measured" in note for note in choice.notes)
    assert choice.scores.properties == ("a",)
    assert (choice.scores.feasible == 1).all()


def test_properties_measured_in_separate_experiments_join_by_row():
    rows = np.repeat(np.arange(30), 2)
    values = np.full((60, 2), np.nan)
    values[::2, 0], values[1::2, 1] = A[:30], B[:30]
    split = choose(Observations(rows, values, ("a", "b")), constraints=["b <= 1"])
    whole = choose(observed(range(30)), constraints=["b <= 1"])
    assert split.picks == whole.picks
    assert split.notes == whole.notes


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_picks_do_not_depend_on_the_unit(scale):
    plain = choose(observed(range(30)), constraints=["b <= 1"])
    scaled = choose(observed(range(30), VALUES * scale), constraints=[f"b <= {scale!r}"])
    assert scaled.picks == plain.picks


def test_equal_values_explore():
    choice = choose(observed(range(10), np.zeros((200, 2))))
    assert len(set(choice.picks)) == 4
    assert any("too few different values" in note for note in choice.notes)


@pytest.mark.parametrize(
    "features",
    [np.ones((40, 3)), np.repeat(FEATURES[:20], 2, axis=0), FEATURES[:40, :1]],
    ids=["equal", "twins", "one column"],
)
def test_poor_features_still_give_a_batch(features):
    values = RNG.normal(size=(40, 1))
    data = Observations(np.arange(10), values[:10], ("a",))
    choice = decide(features, data, available=range(40), problem=problem("max a"), batch=4, seed=0)
    assert len(set(choice.picks)) == 4
    assert min(choice.picks) >= 10


def test_failing_joint_stage_falls_back_with_a_note(monkeypatch):
    def fail(*_, **__):
        raise FitError("The joint posterior cannot be sampled: no")

    monkeypatch.setattr(deciding, "choose_jointly", fail)
    choice = choose(observed(range(30)))
    assert choice.method == "LogEI"
    assert choice.picks == tuple(choice.scores.rows[:4])
    assert "by their value alone" in choice.notes[0]


def test_large_data_reaches_the_joint_stage_in_part(monkeypatch):
    monkeypatch.setattr(deciding, "FINALISTS", 20)
    monkeypatch.setattr(deciding, "INCUMBENTS", 10)
    choice = choose(observed(range(60)), pending=[100, 101])
    assert choice.model["finalists"] == 20
    assert choice.model["baseline"] == 12
    assert set(choice.picks) <= set(choice.scores.rows[:20])


def test_large_pool_is_filled_from_a_part(monkeypatch):
    monkeypatch.setattr(deciding, "MAX_ROWS", 10)
    assert (
        len(set(space_fill(FEATURES, observed([]), available=EVERY, batch=25, seed=0).picks)) == 25
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"available": [0, 200]}, "Row 200"),
        ({"pending": [-1]}, "Row -1"),
        ({"batch": 0}, "batch of 0"),
        *(({"exploration": share}, "cannot explore") for share in (-0.5, 1.5, np.nan)),
        *(
            ({"widths": {"a": width}}, "of a cannot")
            for width in (0.0, -1.0, np.nan, np.inf, 1e200)
        ),
    ],
)
def test_bad_rows_and_batches_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        choose(observed(range(5)), **changes)


def test_infinite_value_names_its_row():
    values = VALUES.copy()
    values[3, 0] = np.inf
    with pytest.raises(InputError, match="row 3"):
        choose(observed(range(5), values))


def test_empty_pool_has_a_hint():
    with pytest.raises(EmptyPoolError) as caught:
        choose(observed([1, 2]), available=[1, 2, 3], pending=[3])
    assert caught.value.hint


def test_model_is_json_and_complete():
    choice = choose(observed(range(30)), constraints=["b <= 1"])
    model = json.loads(json.dumps(choice.model))
    assert set(model["surrogates"]) == {"a", "b"}
    assert {"kernel", "lengthscale", "outputscale", "noise", "n"} <= set(model["surrogates"]["a"])
    assert set(model["versions"]) == {"botorch", "gpytorch", "torch", "numpy"}
    assert model["scored"] == 170
    assert model["acquisition"] == "expected_improvement"
    assert model["components"] == 6


def test_no_warning_escapes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose(observed(range(30)), constraints=["b >= 9"], pending=[40, 41])


def test_the_order_of_bounds_does_not_matter():
    values = VALUES.copy()
    values[:, 0] = np.nan
    bounds = ["a >= 0.5", "b >= 0.5"]
    choices = [
        choose(observed(range(30), values), goal="find all", constraints=asked)
        for asked in (bounds, bounds[::-1])
    ]
    for choice in choices:
        assert choice.method != "space_filling"
        assert choice.scores.properties == ("b",)
        assert "a was never measured: its constraint is left out" in choice.notes
    assert choices[0].picks == choices[1].picks
    values[:2, 0] = [0.1, 0.9]
    both = choose(observed(range(30), values), goal="find all", constraints=bounds)
    assert set(both.scores.properties) == {"a", "b"}
    few = choose(observed(range(2)), goal="find all", constraints=bounds)
    assert few.method == "space_filling"
