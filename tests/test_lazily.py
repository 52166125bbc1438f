"""Packages whose names load when they are first used."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from pathlib import Path

import pytest

from cloudseed._lazily import homes_of, lazily

SOURCE = """
from typing import TYPE_CHECKING
from cloudseed._lazily import lazily
if TYPE_CHECKING:
    from lazy_package.inner import Thing, old as new
else:
    __getattr__ = lazily(__name__, {"inner": "Thing old=new"})
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "lazy_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(SOURCE)
    (folder / "inner.py").write_text("class Thing: ...\nold = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("lazy_package")
    for name in ("lazy_package", "lazy_package.inner"):
        sys.modules.pop(name, None)


def test_a_name_loads_its_module_when_it_is_first_used(package):
    assert "lazy_package.inner" not in sys.modules
    assert package.new == 3
    assert package.Thing is sys.modules["lazy_package.inner"].Thing
    assert "new" in vars(package)


def test_a_module_of_the_package_is_imported_as_ever(package):
    from lazy_package import inner

    assert inner.old == 3


def test_what_is_not_there_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="no attribute 'old'"):
        _ = package.old
    assert not hasattr(package, "Nothing")


def test_a_package_that_imports_nothing_has_no_names():
    assert not hasattr(sys.modules[__name__], "lazily_loaded")
    with pytest.raises(AttributeError, match="lazily_loaded"):
        lazily(__name__, {})("lazily_loaded")


@pytest.mark.parametrize("part", ["loop", "proposers", "surrogate"])
def test_a_package_loads_what_it_tells_type_checkers(part):
    """The table says what the imports under `if TYPE_CHECKING` say, and every name is there."""
    package = importlib.import_module(f"cloudseed.{part}")
    (block,) = [
        node
        for node in ast.parse(Path(package.__file__).read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    told = {
        alias.asname or alias.name: (node.module.removeprefix(f"cloudseed.{part}."), alias.name)
        for node in block.body
        for alias in node.names
    }
    (assigned,) = block.orelse
    assert homes_of(ast.literal_eval(assigned.value.args[1])) == told
    assert set(told) == set(package.__all__)


def test_no_source_is_needed(package, monkeypatch):
    """As in an archive of compiled modules."""

    def absent(_):
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", absent)
    assert importlib.reload(package).Thing is sys.modules["lazy_package.inner"].Thing
