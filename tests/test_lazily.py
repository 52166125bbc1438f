"""Packages whose names load when they are first used."""

from __future__ import annotations

import sys

import pytest

from cloudseed._lazily import lazily

SOURCE = """
from typing import TYPE_CHECKING
from cloudseed._lazily import lazily
if TYPE_CHECKING:
    from lazy_package.inner import Thing, old as new
else:
    __getattr__ = lazily(__name__)
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
        lazily(__name__)("lazily_loaded")
