from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloudseed.errors import InputError, SpecError, UnitError
from cloudseed.lab_adapters import Outcome, OutcomeKind, _table_file, load_lab
from tests.lab_adapters.kit import request, wait

if TYPE_CHECKING:
    from pathlib import Path

    from cloudseed.lab_adapters import LabAdapter

GOOD = "formula,note,bulk_modulus,band_gap\nSrTiO3,a,178.9,3.2\nCaTiO3,b,,3.5\n"


def make(tmp_path: Path, text: str = GOOD, **config: Any) -> LabAdapter:
    (tmp_path / "t.csv").write_text(text)
    return load_lab("table", {"path": str(tmp_path / "t.csv"), **config}, tmp_path / "lab")


def ask(lab: LabAdapter, label: str = "SrTiO3", *properties: str) -> Outcome:
    wanted = request(f"k-{label}-{time.time_ns()}", label, properties=properties)
    handle = lab.submit(wanted)
    return Outcome.from_json(wait(lab, [handle])[wanted.key].raw)


def test_it_answers_from_the_table(tmp_path: Path) -> None:
    lab = make(tmp_path, sigma={"bulk_modulus": 5.0})
    assert lab.describe().properties == {"bulk_modulus": "GPa", "band_gap": "eV"}
    outcome = ask(lab, "SrTiO3", "band_gap", "bulk_modulus")
    gap, modulus = outcome.measurements
    assert (gap.value, gap.unit, gap.sigma) == (3.2, "eV", None)
    assert (modulus.value, modulus.unit, modulus.sigma) == (178.9, "GPa", 5.0)


def test_units_are_converted(tmp_path: Path) -> None:
    text = "formula,formation_energy,hardness\nSrTiO3,-347,9\n"
    lab = make(tmp_path, text, units={"formation_energy": "meV/atom", "hardness": "HV"})
    assert lab.describe().properties == {"formation_energy": "eV/atom", "hardness": "HV"}
    (energy, hardness) = ask(lab, "SrTiO3", "formation_energy", "hardness").measurements
    assert energy.value == pytest.approx(-0.347)
    assert (hardness.value, hardness.unit) == (9.0, "HV")


@pytest.mark.parametrize("kind", ["infeasible", "refused", "failed_final"])
def test_an_empty_cell_means_what_the_owner_says(tmp_path: Path, kind: str) -> None:
    outcome = ask(make(tmp_path, empty=kind), "CaTiO3", "bulk_modulus")
    assert outcome.kind is OutcomeKind(kind)
    assert "no bulk_modulus for CaTiO3" in outcome.reason


def test_what_is_not_in_the_table_is_refused(tmp_path: Path) -> None:
    lab = make(tmp_path)
    wanted = request(label="BaTiO3", properties=("bulk_modulus", "density"))
    verdict = lab.validate(wanted)
    assert not verdict.accepted
    assert verdict.reasons == ("the table has no density", "the table has no row for BaTiO3")
    assert ask(lab, "BaTiO3", "bulk_modulus").kind is OutcomeKind.REFUSED
    assert ask(lab, "SrTiO3", "density").kind is OutcomeKind.REFUSED


def test_a_table_may_go_by_candidate(tmp_path: Path) -> None:
    text = "id,band_gap\ncandidate-SrTiO3,3.2\n"
    lab = make(tmp_path, text, column="id", match="candidate")
    assert ask(lab, "SrTiO3", "band_gap").measurements[0].value == 3.2


def test_results_come_when_they_are_due_also_after_a_restart(tmp_path: Path) -> None:
    began = time.monotonic()
    lab = make(tmp_path, delay=0.4, concurrency=1)
    handles = [lab.submit(request(k, properties=("band_gap",))) for k in "abc"]
    assert lab.poll(handles) == []
    lab.close()
    lab = make(tmp_path, delay=0.4, concurrency=1)
    handles.append(lab.submit(request("d", properties=("band_gap",))))
    seen: dict[str, float] = {}
    while len(seen) < 4:
        for message in lab.poll(handles):
            seen.setdefault(message.key, time.monotonic() - began)
        time.sleep(0.01)
    assert list(seen) == ["a", "b", "c", "d"]
    for n, moment in enumerate(seen.values(), start=1):
        assert moment == pytest.approx(0.4 * n, abs=0.35)
        assert moment >= 0.4 * n - 0.05


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("material,band_gap\nSrTiO3,1\n", "no column 'formula'", "material"),
        ("formulas,band_gap\nSrTiO3,1\n", "no column 'formula'", "mean 'formulas'"),
        ("formula,note\nSrTiO3,1\n", "no column that is a property", "band_gap"),
        ("formula,band_gap\nSrTiO3,wide\n", "line 2: band_gap is 'wide'", "empty"),
        ("formula,band_gap\nSrTiO3,nan\n", "no number", "empty"),
        ("formula,band_gap\nA,1\nB,2\nA,3\n", "line 4: 'A' comes twice", "one row"),
        ("formula,band_gap\n,1\n", "'formula' is empty", "Name"),
        ("formula,band_gap,band_gap\nA,1,2\n", "two columns", "Rename"),
        ("formula,band_gap\nA,1,2\n", "more cells", "Quote"),
        ("", "no column 'formula'", "has"),
    ],
)
def test_a_bad_table_is_refused_at_once(tmp_path: Path, text: str, words: str, hint: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        make(tmp_path, text)
    assert hint in caught.value.hint


def test_a_missing_or_binary_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table"):
        load_lab("table", {"path": str(tmp_path / "none.csv")}, tmp_path)
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        load_lab("table", {"path": str(tmp_path / "b.csv")}, tmp_path)


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'gap'"):
        make(tmp_path, units={"gap": "eV"})
    with pytest.raises(UnitError):
        make(tmp_path, units={"band_gap": "GPa"})
    with pytest.raises(SpecError, match="needs the setting 'path'"):
        load_lab("table", {}, tmp_path)
    with pytest.raises(SpecError, match="no setting 'delays'") as caught:
        make(tmp_path, delays=3)
    assert "'delay'" in caught.value.hint
    with pytest.raises(SpecError, match="cannot use its setting 'empty'") as caught:
        make(tmp_path, empty="zero")
    assert "infeasible" in caught.value.hint


def test_a_spreadsheet_program_may_have_written_it(tmp_path: Path) -> None:
    lab = make(tmp_path, "\ufeffformula, band_gap\r\nSrTiO3, 3.2\r\n\r\n")
    assert ask(lab, "SrTiO3", "band_gap").measurements[0].value == 3.2


def test_a_parquet_table_reads_like_a_csv(tmp_path: Path) -> None:
    frame = pa.table({"formula": ["SrTiO3", "CaTiO3"], "band_gap": [3.2, None]})
    pq.write_table(frame, tmp_path / "t.parquet")
    lab = load_lab("table", {"path": str(tmp_path / "t.parquet")}, tmp_path / "lab")
    assert ask(lab, "SrTiO3", "band_gap").measurements[0].value == 3.2
    assert ask(lab, "CaTiO3", "band_gap").kind is OutcomeKind.INFEASIBLE
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(InputError, match="cannot be read"):
        load_lab("table", {"path": str(tmp_path / "b.parquet")}, tmp_path)


def test_a_table_too_large_to_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_table_file, "LARGEST", 10)
    with pytest.raises(InputError, match="has 0 MB"):
        make(tmp_path)
