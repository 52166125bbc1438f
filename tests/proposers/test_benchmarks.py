"""The benchmarks of proposing in short: strings are inherited, the scripts run."""

import importlib.util
from pathlib import Path

import pytest

from cloudseed.crystal import Crystal, read_crystals
from cloudseed.errors import InputError
from tests.structures import materials_project

FOLDER = Path(__file__).parents[2] / "benchmarks"


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # Scripts find each other beside them.
        patch.syspath_prepend(FOLDER)
        spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:No Pauling electronegativity")
def test_children_inherit_the_string_of_the_built_structure(parents):
    rows = [row for row in materials_project(40, part=1) if int(row["n_sites"]) <= 24]
    given = list(read_crystals([(row["material_id"], row["cif"]) for row in rows]))
    crystals = [c for c in given if not isinstance(c, InputError)]
    assert all(isinstance(c, Crystal) for c in crystals)
    benchmark = script("inheritance")
    counts, _ = benchmark.compare([*crystals, *(p.crystal for p in parents)], 120, seed=3)
    for kind in benchmark.KINDS:
        assert counts[kind, "children"] > 10
        assert counts[kind, "canonical"] == counts[kind, "children"]
    assert counts["distinct", "cloud"] == counts["distinct", "children"]
    assert counts["path", "inherited"] > 20


def test_the_published_rule_of_the_benchmark_is_the_published_one():
    rule = script("inheritance").published_rule
    from pymatgen.core import Structure

    for row in materials_project(20):
        assert rule(Structure.from_str(row["cif"], fmt="cif")) == row["scope"]


def test_the_pool_benchmark_counts(parents, capsys):
    benchmark = script("proposing")
    made = benchmark.rate(parents, 100)
    assert made.raw > 1000
    options = benchmark.arguments().parse_args(
        ["--pool", "500", "--pool-budget", "60", "--workers", "1", "--sample", "0"]
    )
    crystals = benchmark.pool(parents, options)
    assert len(crystals) == 500
    printed = capsys.readouterr().out
    assert "pool: 500 unique candidates, 500 canonical strings" in printed
