import pytest

from cloudseed.surrogate import shell_penalties
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
