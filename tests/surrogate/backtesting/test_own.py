"""Methods of a user's own: what they are given, and whose error it is when they fail."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from cloudseed.errors import FitError, UsageError
from cloudseed.surrogate.backtesting import load_searcher, source_of
from cloudseed.surrogate.objectives import problem

PROBLEM = problem("max score")
ROWS = np.arange(3)


@pytest.fixture
def loaded(monkeypatch):
    """Returns a function that makes a searcher of a factory."""

    def load(factory, hints=None):
        monkeypatch.setitem(sys.modules, "of_ones_own", SimpleNamespace(factory=factory))
        return load_searcher("of_ones_own:factory", np.zeros((3, 2)), PROBLEM, hints)

    return load


def test_it_is_given_hints_where_it_asks_for_them(loaded):
    hints, given = np.arange(3.0), []

    def asking(features, problem, hints=None):
        given.append(hints)

    def silent(features, problem):
        given.append(None)

    loaded(asking, hints)
    loaded(silent, hints)
    assert given[0] is hints
    assert given[1] is None


def failing(error):
    def fail(*_):
        raise error

    return fail


def test_what_it_raises_is_an_error_of_its_own(loaded):
    error = ValueError("3 rows")
    said = "of_ones_own:factory failed with ValueError: 3 rows"
    with pytest.raises(UsageError, match=said) as caught:
        loaded(failing(error))
    assert caught.value.__cause__ is error
    searcher = loaded(lambda *_: SimpleNamespace(next=failing(error)))
    with pytest.raises(UsageError, match=said) as caught:
        searcher.next(ROWS, ROWS, None, 1, 0)
    assert caught.value.__cause__ is error
    assert caught.value.hint
    with pytest.raises(UsageError, match="failed with AttributeError"):
        loaded(lambda *_: object()).next(ROWS, ROWS, None, 1, 0)
    with pytest.raises(UsageError, match="answered with a list"):
        loaded(lambda *_: SimpleNamespace(next=lambda *_: [0])).next(ROWS, ROWS, None, 1, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), FitError("no fit")])
def test_an_interrupt_and_errors_of_cloudseed_pass_through(loaded, error):
    with pytest.raises(type(error)) as caught:
        loaded(lambda *_: SimpleNamespace(next=failing(error))).next(ROWS, ROWS, None, 1, 0)
    assert caught.value is error


def test_a_module_that_cannot_be_loaded_is_named(tmp_path, monkeypatch):
    (tmp_path / "unfinished.py").write_text("class Searcher:\n    def next(self\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="unfinished:Searcher failed with SyntaxError"):
        load_searcher("unfinished:Searcher", np.zeros((3, 2)), PROBLEM)


def test_its_source_is_that_of_the_module_it_is_written_in(tmp_path, monkeypatch):
    (tmp_path / "outer_own.py").write_text("from inner_own import Method\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for body in ("pass", "pass", "x = 1"):
        (tmp_path / "inner_own.py").write_text(f"class Method:\n    {body}\n")
        for name in ("outer_own", "inner_own"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        found.append(source_of("outer_own:Method"))
    assert found[0] == found[1] != found[2]


def test_what_has_no_source_is_told_by_its_name_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "of_ones_own", SimpleNamespace(factory=SimpleNamespace()))
    assert source_of("of_ones_own:factory") == ""
