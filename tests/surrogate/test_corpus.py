import numpy as np
import pytest

from cloudseed.crystal import Crystal, GeometryRoot, Orbit
from cloudseed.surrogate.corpus import Corpus, held_out
from cloudseed.surrogate.scope import parse

HEAD = "1 4 b O O O c O O O d O O O e O O O 0"
STRINGS = [f"{HEAD} | 1a 1b 3c | {a} 0.2 {b} 0.2 O 0.6" for a in ("Sr", "Ba") for b in ("Ti", "Zr")]


def perovskite() -> Crystal:
    root = GeometryRoot(
        space_group=221,
        lattice=((3.9, 0.0, 0.0), (0.0, 3.9, 0.0), (0.0, 0.0, 3.9)),
        frac_coords=((0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)),
        site_orbits=(0, 1, 2, 2, 2),
        orbits=(Orbit("a", 1), Orbit("b", 1), Orbit("c", 3)),
        partition=(0, 1, 2),
    )
    return Crystal(root, ("Sr", "Ti", "O"))


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(STRINGS, [perovskite()])


def test_drawn_strings_parse_and_none_is_held_out(corpus: Corpus) -> None:
    texts, real = corpus.draw(1500, np.random.default_rng(0))
    assert not any(held_out(text) for text in texts)
    assert len(texts) == len(real) > 1400
    scopes = [parse(text) for text in texts]
    assert {scope.dialect for scope in scopes} == {"cloud", "canonical"}
    assert all(scope.space_group == 221 for scope in scopes)
    assert {e for scope in scopes for e in scope.elements} > {"Og", "Fr", "Fe", "F"}


def test_existing_crystals_are_marked(corpus: Corpus) -> None:
    texts, real = corpus.draw(400, np.random.default_rng(1))
    existing = {"Sr", "Ba", "Ti", "Zr", "O"}
    marked = [t for t, r in zip(texts, real, strict=True) if r]
    assert all(set(parse(text).elements) <= existing for text in marked)
    assert 0.4 < real.mean() < 0.6


def test_children_keep_fractions_on_their_sites(corpus: Corpus) -> None:
    texts, real = corpus.draw(300, np.random.default_rng(2))
    for text in (t for t, r in zip(texts, real, strict=True) if not r):
        scope = parse(text)
        assert sorted(f for _, f in scope.composition) == [0.2, 0.2, 0.6]
        if scope.dialect == "canonical":
            assert dict(scope.composition)[dict(scope.orbits)["3c"][0]] == 0.6


def test_draws_repeat(corpus: Corpus) -> None:
    first, second = (corpus.draw(50, np.random.default_rng(3))[0] for _ in range(2))
    assert first == second


def test_held_out_share() -> None:
    share = np.mean([held_out(str(n)) for n in range(20_000)])
    assert abs(share - 5 / 256) < 0.004
