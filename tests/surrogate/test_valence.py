import itertools

import numpy as np
import pytest

from cloudseed.surrogate import shell_penalties, valence
from cloudseed.surrogate.element_table import element_table
from cloudseed.surrogate.scope import ELEMENTS, composition
from cloudseed.surrogate.valence import WORST


def of(amounts):
    total = sum(amounts.values())
    shares = " ".join(f"{e} {round(n / total, 2)}" for e, n in amounts.items())
    return f"1 4 b O O O c O O O d O O O e O O O 0 | 1a | {shares}"


INSULATORS = [{"Sr": 1, "Ti": 1, "O": 3}, {"Na": 1, "Cl": 1}, {"Zn": 1, "S": 1}, {"Pb": 1, "O": 1}]
METALS = [{"Fe": 1, "Al": 1}, {"La": 1, "Ni": 5}, {"Na": 1, "Ti": 1, "O": 1}, {"Au": 1, "Cu": 3}]


@pytest.mark.parametrize("metal", METALS)
def test_insulators_have_smaller_penalties_than_metals(metal):
    closed = shell_penalties([of(amounts) for amounts in INSULATORS])
    assert closed.max() < shell_penalties([of(metal)])[0]
    assert closed.min() >= 0


def test_open_d_shells_count():
    closed, part = shell_penalties([of({"Sr": 1, "Ti": 1, "O": 3}), of({"Sr": 1, "Mn": 1, "O": 3})])
    assert part == pytest.approx(closed + 2 * 3 / 5)


def test_what_cannot_be_read_has_the_worst():
    assert shell_penalties(["no string"]).tolist() == [WORST]
    assert len(shell_penalties([])) == 0


def one_by_one(string):
    """The rule's definition: every assignment of charges, one after the other."""
    parts = composition(string)
    total = sum(share for _, share in parts)
    elements = [ELEMENTS.index(element) for element, _ in parts]
    names, table = element_table()
    column = table[:, names.index("electronegativity")]
    electronegativity = np.where(np.isnan(column), np.nanmax(column), column)
    found = []
    for ions in itertools.product(*(valence._states(e) for e in elements)):
        left = cost = 0.0
        for (charge, price), (_, share) in zip(ions, parts, strict=True):
            left += charge * (share / total)
            cost += price * (share / total)
        signed = [(q, electronegativity[e]) for (q, _), e in zip(ions, elements, strict=True)]
        cations = [x for q, x in signed if q > 0]
        anions = [x for q, x in signed if q < 0]
        order = max(max(cations) - min(anions), 0.0) if cations and anions else 2.0
        held = sum(
            valence._open_electrons(e, q) * share / total
            for e, (q, _), (_, share) in zip(elements, ions, parts, strict=True)
        )
        found.append((cost + 20 * max(abs(left) - 0.02, 0.0) + order, held))
    least = min(penalty for penalty, _ in found)
    held = next(held for penalty, held in found if penalty <= least + 1e-9)
    return min(least, WORST) + 2 * held


def test_many_at_once_get_what_each_gets_alone(monkeypatch):
    monkeypatch.setattr(valence, "_BLOCK", 500)
    rng = np.random.default_rng(3)
    strings = [
        of(dict(zip(rng.choice(ELEMENTS[:94], size, replace=False), amounts, strict=True)))
        for size in (1, 2, 3, 4)
        for amounts in rng.integers(1, 5, (30, size)).tolist()
    ]
    strings += ["no string", *strings[:3]]
    penalties = shell_penalties(strings)
    assert penalties[:-4] == pytest.approx([one_by_one(s) for s in strings[:-4]], abs=1e-12)
    assert penalties[-4:].tolist() == [WORST, *penalties[:3]]
    alone = [shell_penalties([string])[0] for string in strings]
    assert penalties.tolist() == alone


def test_compounds_of_too_many_elements_get_the_worst():
    many = ["Mn", "Fe", "Cr", "V", "Ru", "Os", "Re", "W"]
    assert shell_penalties([of(dict.fromkeys(many, 1))]).tolist() == [WORST]
