"""Other optimisers as methods: what they see, what they are told, and that they spend a budget."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

from cloudseed.errors import CloudseedError, InputError, MissingDependencyError, UsageError
from cloudseed.surrogate import Observations, parse_problem
from cloudseed.surrogate.backtesting import PEERS, Rules, Truth, load_searcher, replay
from cloudseed.surrogate.backtesting.peers import (
    PeerGoal,
    PeerSearcher,
    composition_features,
    element_values,
    magpie,
    unit,
)

FIRST = np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]])
ABSENT = "{} is not installed: `make bench-venv`, then run this file there"


class Fake:
    """Asks for the highest free rows and remembers all it was told and asked."""

    def __init__(self, features, signs, seed):
        self.features, self.signs, self.seed = features, signs, seed
        self.told, self.asked = [], []
        self.warned = logging.getLogger("ax").isEnabledFor(logging.WARNING)

    def tell(self, rows, outcomes):
        self.told += zip(rows, outcomes.tolist(), strict=True)

    def ask(self, count, available, pending):
        self.asked.append((count, len(available), pending.tolist()))
        return available[::-1][:count].tolist()


class Faker:
    """Makes fakes, and keeps them."""

    def __init__(self):
        self.made = []

    def __call__(self, *given):
        self.made.append(Fake(*given))
        return self.made[-1]


def observed(values, *names, failed=()):
    rows = np.arange(len(values))
    return Observations(rows, np.array(values), names, np.array(failed, dtype=np.int64))


# What they see.


def test_descriptors_are_statistics_of_elements_by_fraction():
    sodium, chlorine = element_values(["Na"])[0], element_values(["Cl"])[0]
    (found,) = magpie([{"Na": 1, "Cl": 3}])
    assert np.allclose(found[:8], 0.25 * sodium + 0.75 * chlorine)
    assert np.allclose(found[8:16], 0.375 * np.abs(sodium - chlorine))
    assert np.allclose(found[16:], [*np.minimum(sodium, chlorine), *np.maximum(sodium, chlorine)])


def test_a_composition_is_all_that_counts_of_a_string():
    strings = [f"0 0 0 | 1a | {e} 0.25 Cl 0.75" for e in ("Na", "K", "Rb")]
    strings.append(strings[1].replace("0 0 0", "1 3 n O O O b O O D e O O O 0"))
    found = composition_features(strings)
    assert found.min() == 0
    assert found.max() == 1
    assert np.allclose(found[1], found[3], atol=2e-6)
    assert len(np.unique(found, axis=0)) == 4
    assert np.allclose(found[:3], unit(magpie([{e: 1, "Cl": 3} for e in ("Na", "K", "Rb")])))


def test_one_composition_tells_nothing_apart():
    with pytest.raises(InputError, match="alike") as caught:
        composition_features(["0 0 0 | 1a | Po 1.0"] * 3)
    assert "--features" in caught.value.hint


# What they are told.


@pytest.mark.parametrize(
    ("objective", "told"),
    [("max x", [1, 9]), ("min x", [-1, -9]), ("x = 4", [-3, -5]), ("find lowest 5 % x", [-1, -9])],
)
def test_an_optimum_is_told_as_its_merit(objective, told):
    goal = PeerGoal.of(parse_problem(objective, []), FIRST[:, :1])
    assert goal.signs == {"score": 1.0}
    assert goal.outcomes(np.array([[1.0], [9.0]])).tolist() == [[t] for t in told]


def test_all_that_satisfies_is_told_as_what_is_missed_in_spreads_of_the_start():
    goal = PeerGoal.of(parse_problem("find all", ["x in [2, 4]", "y <= 2"]), FIRST)
    x, y = FIRST.std(axis=0)
    told = goal.outcomes(np.array([[3.0, 2.0], [0.0, 3.0], [5.0, -9.0]]))[:, 0]
    assert told.tolist() == pytest.approx([0, -2 / x - 1 / y, -1 / x])


def test_what_misses_a_bound_of_an_optimum_is_no_better_than_average():
    goal = PeerGoal.of(parse_problem("min x", ["y <= 2"]), FIRST)
    x, y = FIRST.std(axis=0)
    told = goal.outcomes(np.array([[1.0, 2.0], [-99.0, 3.0], [8.0, 3.0]]))[:, 0]
    assert told.tolist() == pytest.approx([-1, -3 - x / y, -8 - x / y])


def test_a_front_is_told_in_its_own_values():
    goal = PeerGoal.of(parse_problem(["max x", "min y"], ["y >= 2"]), FIRST)
    x, y = FIRST.std(axis=0)
    assert goal.signs == {"x": 1.0, "y": -1.0}
    told = goal.outcomes(np.array([[7.0, 2.0], [7.0, 1.0], [1.0, 1.0]]))
    assert told.ravel().tolist() == pytest.approx(
        [7, 2, 3 - x / y, 4 + 1, 1 - x / y, 4 + 1]  # 3 and 4 are the means of the start
    )


def test_measurements_that_are_all_alike_have_a_scale():
    goal = PeerGoal.of(parse_problem("find all", ["x >= 5"]), np.ones((4, 1)))
    assert goal.outcomes(np.array([[1.0]])).tolist() == [[-4.0]]


# How they are asked.


def test_a_peer_is_told_once_of_what_is_known_and_asked_for_the_rest():
    values = np.arange(12.0)
    values[2] = np.nan
    truth = Truth.of(parse_problem("max x", []), {"x": values}, share=0.2)
    faker = Faker()
    searcher = PeerSearcher("fake", np.zeros((12, 1)), truth.problem, faker)
    run = replay(searcher, truth, [0, 1, 2, 3], Rules(10, 3, 1, 7))
    assert run.order == (0, 1, 2, 3, 11, 10, 9, 8, 7, 6)
    (fake,) = faker.made
    assert fake.told == [(r, [float(r)]) for r in (0, 1, 3, 11, 10, 9)]
    assert fake.asked == [(3, 8, []), (1, 5, [10, 9]), (1, 4, [9, 8]), (1, 3, [8, 7])]
    again = replay(
        PeerSearcher("fake", np.zeros((12, 1)), truth.problem, faker),
        truth,
        [0],
        Rules(10, 3, 1, 7),
    )
    assert set(again.notes) == {"too few values to model"}


def test_a_row_without_every_value_is_not_told():
    faker = Faker()
    searcher = PeerSearcher("fake", np.zeros((9, 1)), parse_problem("max x", ["y <= 1"]), faker)
    seen = observed([[1, 0], [2, 0], [3, np.nan], [4, 0]], "x", "y", failed=[8])
    choice = searcher.next(np.array([5, 6, 7]), np.array([4]), seen, 2, 0)
    assert choice.picks == (7, 6)
    assert [row for row, _ in faker.made[0].told] == [0, 1, 3]


def test_a_peer_s_failure_names_it_and_its_remarks_stay_off_the_screen():
    class Broken(Fake):
        def ask(self, count, available, pending):
            logging.getLogger("ax").warning("a line per trial")
            raise ValueError("no good")

    searcher = PeerSearcher("fake", np.zeros((5, 1)), parse_problem("max x", []), Broken)
    with pytest.raises(CloudseedError, match="fake failed: ValueError: no good") as caught:
        searcher.next(np.array([4]), np.array([]), observed([[1], [2], [3]], "x"), 1, 0)
    assert "leave fake out" in caught.value.hint
    assert not searcher._peer.warned
    assert logging.getLogger("ax").isEnabledFor(logging.WARNING)


@pytest.mark.parametrize(
    ("name", "library"), [("baybe", "baybe"), ("ax", "ax"), ("camd-gp", "sklearn")]
)
def test_without_its_library_a_peer_tells_what_to_install(name, library, monkeypatch):
    for module in [m for m in sys.modules if m.startswith(PEERS[name].partition(":")[0])]:
        monkeypatch.delitem(sys.modules, module)
    for module in [m for m in sys.modules if m.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=name) as caught:
        load_searcher(name, np.zeros((3, 1)), parse_problem("max x", []), descriptors=np.eye(3))
    assert "pip install 'cloudseed[bench]'" in caught.value.hint
    assert "environment of its own" in caught.value.hint


def test_a_peer_is_not_given_features_in_place_of_descriptors():
    with pytest.raises(UsageError, match="descriptors"):
        load_searcher("camd-gp", np.zeros((3, 1)), parse_problem("max x", []))


# The real ones.

PROBLEMS = {
    "optimum": parse_problem("max x", ["y <= 1"]),
    "all": parse_problem("find all", ["x >= 0.9"]),
    "front": parse_problem(["max x", "min y"], []),
    # Ax reads E as a number, and no @.
    "three": parse_problem(["max x", "min E", "cv@300K = 0"], []),
}


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_spends_a_budget_better_than_chance(name, kind):
    library = {"baybe": "baybe", "ax": "ax"}.get(name, "sklearn")
    pytest.importorskip(library, reason=ABSENT.format(library))
    features = unit(np.random.default_rng(1).uniform(size=(60, 2)))
    x, y = features.T
    values = {"x": x + 0.1 * y, "y": y, "E": y, "cv@300K": x - 0.5}
    values = {n: np.where(np.arange(60) % 20 == 7, np.nan, v) for n, v in values.items()}
    truth = Truth.of(PROBLEMS[kind], values, share=0.1)
    # Rows 7, 27 and 47 fail; one result comes at a time, so that another is pending.
    start, rules = [7, 1, 2, 3, 4, 5], Rules(14, 2, 1, 3)

    def run():
        seen = load_searcher(name, np.zeros((60, 1)), truth.problem, descriptors=features)
        return replay(seen, truth, start, rules).order

    order = run()
    assert len(set(order)) == 14
    if kind == "optimum":
        assert run() == order
    if kind != "three":
        assert truth.hits[list(order[6:])].sum() > 8 * truth.hits.mean()
