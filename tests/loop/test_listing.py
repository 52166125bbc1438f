"""Lists that a ranker brings, and ranking them."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloudseed.crystal import Cell, Crystal
from cloudseed.errors import EmptyPoolError, InputError, ObjectiveError, ScopeError, StructureError
from cloudseed.loop.listing import read_listing, read_values
from cloudseed.loop.ranking import rank_files
from cloudseed.surrogate import scope_string

A_SITES, B_SITES = ("Ca", "Sr", "Ba", "K", "Na", "La"), ("Ti", "Zr", "Sn", "Hf", "Nb", "Al")


def perovskite(a: str, b: str) -> Cell:
    half = 0.5
    return Cell(
        ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0)),
        (a, b, "O", "O", "O"),
        ((0.0, 0.0, 0.0), (half,) * 3, (half, half, 0.0), (half, 0.0, half), (0.0, half, half)),
    )


def value(a: str, b: str) -> float:
    return 10.0 * A_SITES.index(a) + B_SITES.index(b)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pool and a measured set, both as CSV with CIFs and as folders."""
    root = tmp_path_factory.mktemp("lists")
    pairs = [(a, b) for a in A_SITES for b in B_SITES]
    pool, known = pairs[::3], [p for i, p in enumerate(pairs) if i % 3]
    for name, part in (("pool", pool), ("known", known)):
        (root / name).mkdir()
        lines = ["file,score"]
        rows = ["id,score,cif"]
        scopes = ["id,score,scope"]
        for a, b in part:
            cif = perovskite(a, b).to_cif()
            (root / name / f"{a}{b}O3.cif").write_text(cif)
            lines.append(f"{a}{b}O3.cif,{value(a, b)}")
            rows.append(f'{a}{b}O3,{value(a, b)},"{cif}"')
            scope = scope_string(Crystal.from_cell(perovskite(a, b)), "cloud")
            scopes.append(f"{a}{b}O3,{value(a, b)},{scope}")
        (root / name / "values.csv").write_text("\n".join(lines))
        (root / f"{name}.csv").write_text("\n".join(rows))
        (root / f"{name}-scope.csv").write_text("\n".join(scopes))
    with gzip.open(root / "pool.csv.gz", "wt") as file:
        file.write((root / "pool.csv").read_text())
    return root


@pytest.mark.parametrize(("pool", "known"), [("pool.csv", "known.csv"), ("pool", "known")])
def test_ranks_folders_and_tables_alike(folder, pool, known):
    ranking = rank_files(folder / pool, folder / known, "max score", [], order_by="mean")
    assert [row.rank for row in ranking.rows] == list(range(1, 13))
    assert {row.name.removesuffix(".cif") for row in ranking.rows} == {
        p.stem for p in (folder / "pool").glob("*.cif")
    }
    assert ranking.measured == 24
    means = [row.mean[0] for row in ranking.rows]
    assert means == sorted(means, reverse=True)
    names = {p.stem for p in (folder / "known").glob("*.cif")}
    assert all(row.nearest.removesuffix(".cif") in names for row in ranking.rows)


def test_ranks_scope_strings_and_gzipped_tables(folder):
    by_scope = rank_files(folder / "pool-scope.csv", folder / "known-scope.csv", "max score", [])
    mixed = rank_files(folder / "pool.csv.gz", folder / "known-scope.csv", "max score", [])
    assert [r.name for r in by_scope.rows] == [r.name for r in mixed.rows]
    assert by_scope.rows[0].mean == pytest.approx(mixed.rows[0].mean)


def test_constraints_give_a_probability(folder):
    ranking = rank_files(folder / "pool.csv", folder / "known.csv", "max score", ["score <= 30"])
    chances = np.array([row.feasible for row in ranking.rows])
    means = np.array([row.mean[0] for row in ranking.rows])
    assert ranking.constrained
    assert chances[means.argmin()] > chances[means.argmax()]


def test_the_whole_list_is_written_as_csv(folder, tmp_path):
    ranking = rank_files(folder / "pool.csv", folder / "known.csv", "min score", [])
    ranking.write_csv(tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert len(lines) == 13
    assert lines[0].startswith("rank,name,mean_score,sd_score")
    assert len(ranking.to_json(5)["rows"]) == 5


def test_a_broken_structure_is_named_or_left_out(folder, tmp_path):
    text = (folder / "pool.csv").read_text() + '\nbroken,1.0,"data_x\nnothing here"'
    (tmp_path / "pool.csv").write_text(text)
    with pytest.raises(StructureError, match=r"pool\.csv, broken"):
        read_listing(tmp_path / "pool.csv")
    listing = read_listing(tmp_path / "pool.csv", skip_bad=True)
    assert len(listing.names) == 12
    assert "broken" in listing.skipped[0]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a,b\n1,2\n", InputError, "neither a column"),
        ("id,scope\nx,0 0 0 | 1a | Xx 1.0\n", ScopeError, "row 1"),
        ("id,scope\n", EmptyPoolError, "no material"),
        ('a,"b\n1', InputError, "CSV|column"),
    ],
)
def test_unusable_tables_are_refused(tmp_path, text, error, message):
    (tmp_path / "pool.csv").write_text(text)
    with pytest.raises(error, match=message):
        read_listing(tmp_path / "pool.csv")


def test_missing_files_and_columns_are_named(folder, tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_listing(tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no CIF"):
        read_listing(tmp_path / "empty")
    cif = (folder / "pool" / "CaTiO3.cif").read_text()
    (tmp_path / "empty" / "a.cif").write_text(cif)
    with pytest.raises(InputError, match=r"no values\.csv"):
        read_listing(tmp_path / "empty", ["score"])
    with pytest.raises(InputError) as caught:
        read_listing(folder / "known.csv", ["scores"])
    assert "'score'" in caught.value.hint


def test_values_must_be_finite_numbers(folder, tmp_path):
    text = (folder / "known-scope.csv").read_text().splitlines()
    for bad in ("high", "inf"):
        row = text[1].split(",")
        (tmp_path / "known.csv").write_text(
            "\n".join([text[0], ",".join([row[0], bad, row[2]]), *text[2:]])
        )
        with pytest.raises(InputError, match="no finite number") as caught:
            read_listing(tmp_path / "known.csv", ["score"])
        assert "np." not in caught.value.message


@pytest.mark.parametrize("name", ["known.csv", "known.csv.gz", "known.parquet"])
def test_two_columns_of_one_name_are_refused(tmp_path, name):
    path = tmp_path / name
    frame = pd.DataFrame([["x", "0 0 0 | 1a | Na 1.0", 1.0, 2.0]])
    if path.suffix == ".parquet":
        columns = [pa.array(frame[i]) for i in frame]
        pq.write_table(pa.table(columns, names=["id", "scope", "prop", "prop"]), path)
    else:
        frame.to_csv(path, index=False, header=["id", "scope", "prop", "prop"])
    with pytest.raises(InputError, match="two columns 'prop'") as caught:
        read_listing(path, ["prop"])
    assert caught.value.hint


def test_columns_without_a_name_may_be_several(tmp_path):
    (tmp_path / "known.csv").write_text("prop,,\n1.5,,\n")
    assert read_values(tmp_path / "known.csv", ["prop"])[1]["prop"].tolist() == [1.5]


def test_nothing_measured_is_refused(folder, tmp_path):
    text = (folder / "known-scope.csv").read_text().splitlines()
    bare = [text[0], *(",".join([r.split(",")[0], "", r.split(",")[2]]) for r in text[1:])]
    (tmp_path / "known.csv").write_text("\n".join(bare))
    with pytest.raises(EmptyPoolError, match="no value"):
        rank_files(folder / "pool.csv", tmp_path / "known.csv", "max score", [])
    with pytest.raises(ObjectiveError):
        rank_files(folder / "pool.csv", folder / "known.csv", "best score", [])
