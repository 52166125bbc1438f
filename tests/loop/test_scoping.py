"""SCOPE strings of files, and their embeddings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from cloudseed.crystal import Crystal
from cloudseed.errors import EmptyPoolError, InputError, StorageError, UsageError
from cloudseed.loop import scoping
from cloudseed.loop.embedding import embed_files
from cloudseed.loop.scoping import make_strings
from cloudseed.surrogate import CloudEncoder, full_string, parse_scope, scope_string
from tests.loop.test_listing import perovskite

if TYPE_CHECKING:
    from pathlib import Path

CELLS = {f"{a}{b}": perovskite(a, b) for a, b in (("Ca", "Ti"), ("Sr", "Zr"), ("Ba", "Sn"))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three perovskites as CIF, POSCAR and extended XYZ, and a file that is none of these."""
    for name, cell in CELLS.items():
        (tmp_path / f"{name}.cif").write_text(cell.to_cif())
    (tmp_path / "CaTi.cif").unlink()
    CELLS["CaTi"].to_structure().to(filename=str(tmp_path / "POSCAR_CaTi"), fmt="poscar")
    (tmp_path / "SrZr.cif").unlink()
    CELLS["SrZr"].to_atoms().write(tmp_path / "SrZr.extxyz", format="extxyz")
    (tmp_path / "notes.txt").write_text("not a structure")
    return tmp_path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv.gz"
    cifs = [cell.to_cif() for cell in CELLS.values()]
    pd.DataFrame({"id": list(CELLS), "cif": cifs}).to_csv(path, index=False)
    return path


def expected(dialect: str, *, full: bool = False) -> dict[str, str]:
    crystals = {name: Crystal.from_cell(cell) for name, cell in CELLS.items()}
    return {name: scope_string(c, dialect, full=full) for name, c in crystals.items()}


@pytest.mark.parametrize("dialect", ["cloud", "canonical"])
def test_every_kind_of_file(folder: Path, table: Path, dialect: str) -> None:
    made = make_strings([table, folder], dialect)
    strings = expected(dialect)
    assert made.names[:3] == tuple(CELLS)
    assert made.strings[:3] == tuple(strings.values())
    names = [name.rsplit("/", 1)[1] for name in made.names[3:]]
    assert names == ["BaSn.cif", "POSCAR_CaTi", "SrZr.extxyz"]
    if dialect == "canonical":
        assert made.strings[3:] == (strings["BaSn"], strings["CaTi"], strings["SrZr"])
    assert made.bad == ()


def test_full(table: Path) -> None:
    canonical = make_strings([table], "canonical", full=True)
    assert dict(zip(canonical.names, canonical.strings, strict=True)) == expected(
        "canonical", full=True
    )
    cloud = make_strings([table], "cloud", full=True)
    assert len(parse_scope(cloud.strings[0]).symbols) == 5
    assert cloud.strings[0] == full_string(CELLS["CaTi"])


def test_bad_files_stop_nothing(folder: Path, table: Path) -> None:
    (folder / "a_broken.cif").write_text("data_\n_cell")
    told: list[tuple[str, int, int]] = []
    paths = [folder, folder / "nowhere.cif", table]
    made = make_strings(paths, "cloud", progress=lambda *x: told.append(x))
    assert len(made.strings) == 6
    assert [entry.name.rsplit("/", 1)[1] for entry in made.bad] == ["a_broken.cif", "nowhere.cif"]
    assert all(entry.to_json()["error"] for entry in made.bad)
    assert told[-1] == ("reading", 8, 8)


def test_processes_give_the_same(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.read_csv(table)
    frame.loc[1, "cif"] = "nonsense"
    frame.to_csv(table, index=False)
    alone = make_strings([table], "canonical")
    monkeypatch.setattr(scoping, "WORTH_PROCESSES", 2)
    monkeypatch.setattr(scoping, "CHUNK", 1)
    together = make_strings([table], "canonical", workers=2)
    assert together.strings == alone.strings
    assert [entry.to_json() for entry in together.bad] == [e.to_json() for e in alone.bad]


def test_strings_are_taken_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "strings.csv"
    given = ["0 0 0 | 1a | Po 1.0", "0 0 0 | 1z | Po 1.0"]
    pd.DataFrame({"scope": given}).to_csv(path, index=False)
    made = make_strings([path], "cloud", given=True)
    assert (made.names, made.strings) == (("1",), (given[0],))
    assert made.bad[0].name == "2"
    with pytest.raises(InputError, match="no column 'cif'"):
        make_strings([path], "cloud")


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no structure file"):
        make_strings([tmp_path], "cloud")
    empty = tmp_path / "empty.csv"
    empty.write_text("cif\n")
    with pytest.raises(EmptyPoolError):
        make_strings([empty], "cloud")


def test_csv(table: Path, tmp_path: Path) -> None:
    made = make_strings([table], "cloud")
    made.write_csv(tmp_path / "out.csv")
    frame = pd.read_csv(tmp_path / "out.csv")
    assert tuple(frame["name"]) == made.names
    assert tuple(frame["scope"]) == made.strings


def test_embeddings_in_every_format(table: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    made = embed_files([table], out=tmp_path / "e.parquet")
    encoder = CloudEncoder.load()
    np.testing.assert_array_equal(made.vectors, encoder.embed(list(expected("canonical").values())))
    stored = parquet.read_table(tmp_path / "e.parquet")
    assert stored.column("name").to_pylist() == list(CELLS)
    np.testing.assert_array_equal(np.stack(stored.to_pandas()["embedding"]), made.vectors)
    assert stored.schema.metadata[b"encoder_id"].decode() == encoder.id
    made.write(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["embeddings"], made.vectors)
        assert str(arrays["weights_sha256"]) == encoder.sha256
        assert list(arrays["scopes"]) == list(made.strings)
    made.write(tmp_path / "e.csv")
    frame = pd.read_csv(tmp_path / "e.csv").set_index("name").drop(columns="scope")
    np.testing.assert_array_equal(frame.to_numpy(np.float32), made.vectors)
    assert not list(tmp_path.glob(".*"))
    assert json.dumps(made.to_json())


def test_strings_that_the_encoder_refuses(tmp_path: Path) -> None:
    path = tmp_path / "strings.csv"
    long = " ".join(["1a"] * 80)
    pd.DataFrame({"scope": ["0 0 0 | 1a | Po 1.0", f"0 0 0 | {long} | Po 1.0"]}).to_csv(path)
    made = embed_files([path])
    assert made.names == ("1",)
    assert "at most 64" in made.bad[0].error.message
    pd.DataFrame({"scope": [f"0 0 0 | {long} | Po 1.0"]}).to_csv(path)
    with pytest.raises(EmptyPoolError, match="at most 64"):
        embed_files([path])


def test_where_embeddings_cannot_go(table: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"e\.xlsx"):
        embed_files([table], out=tmp_path / "e.xlsx")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        embed_files([table], out=tmp_path / "file" / "e.npz")
