"""The sweep over thresholds finds what trying every map finds."""

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudseed.proposers.maps import Options, likeliest_maps


def _random_choices(rng):
    """Up to six ions of five elements, with ties among their probabilities."""
    ions = {(int(rng.integers(0, 5)), int(rng.integers(-2, 3))) for _ in range(6)}
    return [(-float(rng.integers(0, 8)) / 2, number, charge) for number, charge in sorted(ions)]


def _everything(choices, counts, *, least, neutral, merging):
    found = []
    for choice in itertools.product(*choices):
        ions = [c[1:] for c in choice]
        clash = any(
            a[0] == b[0] != 0 and (not merging or a != b)
            for a, b in itertools.combinations(ions, 2)
        )
        charge = sum(n * q for n, (_, q) in zip(counts, ions, strict=True))
        total = math.fsum(c[0] for c in choice)
        if not clash and total >= least and not (neutral and charge):
            found.append((total, ions))
    return sorted(found, key=lambda one: -one[0])


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**9),
    size=st.integers(1, 4),
    neutral=st.booleans(),
    merging=st.booleans(),
    least=st.one_of(st.floats(-12, 0), st.just(-math.inf)),
    limit=st.one_of(st.integers(1, 40), st.just(10**6)),
)
def test_the_sweep_equals_brute_force(seed, size, neutral, merging, least, limit):
    rng = np.random.default_rng(seed)
    counts = [int(n) for n in rng.integers(1, 4, size)]
    choices = [_random_choices(rng) for _ in range(size)]
    rules = {"least": least, "neutral": neutral, "merging": merging}
    expected = _everything(choices, counts, **rules)
    maps = likeliest_maps([Options.of(c) for c in choices], counts, limit=limit, **rules)
    totals = maps.log_probability.tolist()
    assert totals == [total for total, _ in expected][:limit]
    found = [
        (total, list(zip(numbers, charges, strict=True)))
        for total, numbers, charges in zip(
            totals, maps.numbers.tolist(), maps.charges.tolist(), strict=True
        )
    ]
    assert all(one in expected for one in found)
    assert len({str(one) for one in found}) == len(found)


def test_what_cannot_be_has_no_maps():
    options = [Options.of([(0.0, 11, 1)]), Options.of([(0.0, 12, 2)])]
    assert len(likeliest_maps(options, [1, 1], limit=5)) == 0
    assert len(likeliest_maps(options, [1, 1], limit=5, neutral=False)) == 1
    assert len(likeliest_maps([*options, Options.of([])], [1, 1, 1], limit=5, neutral=False)) == 0
    assert likeliest_maps(options, [1, 1], limit=5).numbers.shape == (0, 2)
