"""The engine's log: one JSON object per line, with the fields that a message carries."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from cloudseed.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["log_file"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_LARGEST = 5_000_000


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Returns one line of JSON."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        return json.dumps(line | fields, default=str)


class _Quiet(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Loses the line where the disk is full: the ledger's own error tells of that."""


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Writes what cloudseed logs to a file, and none of it to the terminal.

    Raises:
        StorageError: If the file cannot be written.
    """
    try:
        handler = _Quiet(path, maxBytes=_LARGEST, backupCount=3, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Check the folder's permissions and the free space.",
            path=str(path),
        ) from error
    handler.setFormatter(_JsonLines())
    logger = logging.getLogger("cloudseed")
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
        handler.close()
