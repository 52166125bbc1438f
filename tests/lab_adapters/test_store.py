from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from cloudseed.errors import LabError
from cloudseed.lab_adapters._store import JobStore

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_written_before_the_first_job(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "lab")
    assert store.jobs() == []
    assert store.result("k") is None
    assert not (tmp_path / "lab").exists()


def test_the_first_result_stands(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = store.add("k", {"a": 1})
    store.finish(job.handle, b"first")
    store.finish(job.handle, b"second")
    assert store.result(job.handle) == b"first"
    assert store.unfinished() == []
    assert [p.name for p in (tmp_path / "results").iterdir()] == ["k.json"]


def test_a_disk_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    test_the_first_result_stands(tmp_path)


def test_the_same_key_means_the_same_request(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    assert store.add("k", {"a": (1, 2)}) == store.add("k", {"a": [1, 2]}, due=5.0)
    with pytest.raises(LabError, match="another request"):
        store.add("k", {"a": [1, 3]})


def test_jobs_come_back_oldest_first(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    for n, key in enumerate("cab"):
        store.add(key, {})
        os.utime(tmp_path / "jobs" / f"{key}.json", ns=(n, n))
    store.finish("a", b"{}")
    assert [job.key for job in store.unfinished()] == ["c", "b"]


def test_half_written_files_are_no_jobs(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    store.add("k", {})
    (tmp_path / "jobs" / ".abc.part").write_bytes(b'{"key": "half')
    assert [job.key for job in store.jobs()] == ["k"]


def test_a_damaged_job_is_named(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    store.add("k", {})
    (tmp_path / "jobs" / "k.json").write_bytes(b"\0\0\0")
    with pytest.raises(LabError, match=r"k\.json is damaged"):
        store.jobs()


def test_a_handle_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no handle"):
        JobStore(tmp_path).result("../secret")


@pytest.mark.parametrize(
    ("code", "word"), [(28, "full"), (30, "read-only"), (13, "right"), (5, "Check")]
)
def test_trouble_with_the_disk_has_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, word: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(LabError) as caught:
        JobStore(tmp_path).add("k", {})
    assert word in caught.value.hint
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lab").write_text("")
    with pytest.raises(LabError):
        JobStore(tmp_path / "lab").add("k", {})


def test_runs_are_logged_as_json_lines(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    store.log("start", "k", pid=1)
    store.log("end", "k", pid=1)
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [(line["event"], line["job"]) for line in lines] == [("start", "k"), ("end", "k")]
    assert lines[0]["time"].endswith("+00:00")
