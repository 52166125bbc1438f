"""Run folders."""

from __future__ import annotations

import os
from collections import namedtuple

import pytest

from cloudseed.errors import StorageError, UsageError
from cloudseed.loop import Workspace
from cloudseed.loop import workspace as module


def test_a_moved_folder_still_finds_its_ledger(tmp_path):
    made = Workspace.create(tmp_path / "one", "first", None)
    assert made.ledger_url == f"sqlite:///{tmp_path}/one/ledger.db"
    (tmp_path / "one").rename(tmp_path / "two")
    assert Workspace.open(tmp_path / "two").ledger_url == f"sqlite:///{tmp_path}/two/ledger.db"


def test_refuses_a_folder_that_holds_a_campaign(tmp_path):
    Workspace.create(tmp_path, "first", None)
    with pytest.raises(UsageError) as caught:
        Workspace.create(tmp_path, "second", None)
    assert "resume" in caught.value.hint


def test_finds_the_newest_by_default_and_others_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for age, name in ((20, "old"), (10, "new")):
        Workspace.create(tmp_path / "runs" / name, name, None)
        os.utime(tmp_path / "runs" / name, (1_700_000_000 - age, 1_700_000_000 - age))
    assert Workspace.find(None).campaign == "new"
    assert Workspace.find("old").campaign == "old"
    assert Workspace.find(str(tmp_path / "runs" / "old")).campaign == "old"
    monkeypatch.chdir(tmp_path / "runs" / "old")
    assert Workspace.find(None).campaign == "old"


@pytest.mark.parametrize("where", [None, "nothing"])
def test_says_where_it_looked(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        Workspace.find(where)
    assert "runs" in caught.value.hint + caught.value.message


def test_broken_marker_is_no_run_folder(tmp_path):
    (tmp_path / "campaign.json").write_text("{}")
    with pytest.raises(UsageError):
        Workspace.open(tmp_path)


def test_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(StorageError, match="free"):
        Workspace.create(tmp_path / "run", "first", None)
    assert not (tmp_path / "run" / "campaign.json").exists()


def test_unwritable_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as caught:
        Workspace.create(tmp_path / "file" / "run", "first", None)
    assert "--out" in caught.value.hint


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    module.write_text(tmp_path / "a.txt", "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        module.write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
