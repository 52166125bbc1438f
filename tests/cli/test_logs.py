"""The engine's log."""

from __future__ import annotations

import json
import logging

import pytest

from cloudseed.cli.logs import log_file
from cloudseed.errors import StorageError


def test_fields_stand_in_one_json_line_each(tmp_path, capsys):
    logger = logging.getLogger("cloudseed.loop.campaign")
    with log_file(tmp_path / "engine.log"):
        logger.info("sent", extra={"experiment": 3, "handle": "a"})
        logger.warning("lab out of reach", extra={"why": "no route"})
    logger.warning("after the end")
    first, second = map(json.loads, (tmp_path / "engine.log").read_text().splitlines())
    assert (first["message"], first["experiment"], first["level"]) == ("sent", 3, "info")
    assert second["why"] == "no route"
    assert first["at"].endswith("+00:00")
    assert "sent" not in capsys.readouterr().err


def test_an_unwritable_folder_is_told(tmp_path):
    with (
        pytest.raises(StorageError, match="cannot be written"),
        log_file(tmp_path / "no" / "x.log"),
    ):
        pass


def test_a_full_disk_loses_lines_and_nothing_else(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with log_file(tmp_path / "engine.log"):
        monkeypatch.setattr(logging.StreamHandler, "flush", full)
        logging.getLogger("cloudseed.loop").info("sent")
        monkeypatch.undo()
    assert capsys.readouterr().err == ""
