"""The run folder: where a campaign's ledger, lab files and results live."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudseed.db import open_ledger
from cloudseed.errors import StorageError, UsageError
from cloudseed.loop.spec import validate_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudseed.db import CampaignRow, Ledger
    from cloudseed.loop.spec import CampaignSpec

__all__ = [
    "RUNS",
    "Workspace",
    "campaign_of",
    "fresh",
    "reading",
    "unwritable",
    "whole",
    "write_bytes",
    "write_text",
]

RUNS = Path("runs")
"""Where run folders are made, relative to the working folder."""

_MARKER = "campaign.json"
_LEAST_FREE = 50_000_000


@dataclass(frozen=True, slots=True)
class Workspace:
    """A run folder.

    Attributes:
        path: The folder.
        campaign: Name of the campaign.
        ledger_url: Database URL of its ledger.
    """

    path: Path
    campaign: str
    ledger_url: str

    @property
    def lab(self) -> Path:
        """Where a local lab keeps its jobs and results."""
        return self.path / "lab"

    @property
    def winners(self) -> Path:
        """Where the best structures are written."""
        return self.path / "winners"

    @property
    def embeddings(self) -> Path:
        """Where embeddings are kept when the pool is too large for the ledger."""
        return self.path / "embeddings"

    @classmethod
    def refuse_existing(cls, path: Path, campaign: str) -> None:
        """Raises a UsageError if a folder already holds a campaign."""
        if (path / _MARKER).exists():
            raise UsageError(
                f"{path} already holds the campaign {cls.open(path).campaign!r}.",
                hint=f"`cloudseed resume {path}` goes on with it; `--out` starts another.",
                path=str(path),
                campaign=campaign,
            )

    @classmethod
    def create(cls, path: Path, campaign: str, ledger: str | None) -> Workspace:
        """Makes a run folder.

        Raises:
            UsageError: If there is one already.
            StorageError: If it cannot be written, or the disk is nearly full.
        """
        cls.refuse_existing(path, campaign)
        url = ledger or f"sqlite:///{(path / 'ledger.db').resolve()}"
        try:
            path.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(path).free
        except OSError as error:
            raise unwritable(path, error) from error
        if free < _LEAST_FREE:
            raise StorageError(
                f"Only {free / 1e6:.0f} MB are free where {path} is.",
                hint="A campaign wants at least 50 MB; free some space or use `--out`.",
            )
        workspace = cls(path, campaign, url)
        # The ledger stands beside its marker, so that a run folder may be moved.
        stored = ledger if ledger else None
        write_text(path / _MARKER, json.dumps({"campaign": campaign, "ledger": stored}, indent=1))
        return workspace

    @classmethod
    def open(cls, path: Path) -> Workspace:
        """Opens a run folder.

        Raises:
            UsageError: If there is none.
        """
        data = _read_marker(path / _MARKER)
        url = data.get("ledger") or f"sqlite:///{(path / 'ledger.db').resolve()}"
        return cls(path, str(data["campaign"]), str(url))

    @classmethod
    def find(cls, where: str | None) -> Workspace:
        """Finds a run folder by path or campaign name; by default the newest under `runs`.

        Raises:
            UsageError: If there is none.
        """
        if where is not None:
            for path in (Path(where), RUNS / where):
                if (path / _MARKER).exists():
                    return cls.open(path)
            raise UsageError(
                f"There is no campaign in {where!r}.",
                hint="Give a run folder, or the name of a campaign under ./runs.",
            )
        if Path(_MARKER).exists():
            return cls.open(Path())
        found = sorted(RUNS.glob(f"*/{_MARKER}"), key=lambda p: p.parent.stat().st_mtime)
        if not found:
            raise UsageError(
                "There is no campaign under ./runs.",
                hint="`cloudseed run campaign.yaml` starts one; or name its run folder.",
            )
        return cls.open(found[-1].parent)


@contextmanager
def reading(workspace: Workspace) -> Iterator[Ledger]:
    """Opens a run folder's ledger for reading; may be done while an engine runs."""
    ledger = open_ledger(workspace.ledger_url, create=False)
    try:
        yield ledger
    finally:
        ledger.close()


def campaign_of(ledger: Ledger, workspace: Workspace) -> tuple[CampaignRow, CampaignSpec]:
    """Returns a run folder's campaign and its spec.

    Raises:
        UsageError: If the ledger does not hold it.
    """
    row = ledger.campaign(workspace.campaign)
    if row is None:
        raise UsageError(
            f"The ledger of {workspace.path} holds no campaign {workspace.campaign!r}.",
            hint="Was the database replaced? Restore it, or start again with `--out`.",
        )
    return row, validate_spec(row.config["spec"], f"the ledger of {workspace.path}")


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all.

    Raises:
        StorageError: If the folder is read-only or the disk is full.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        StorageError: If the folder is read-only or the disk is full.
    """
    with whole(path) as partial:
        partial.write_bytes(data)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a path to write a file to, and puts it in its place, whole or not at all.

    A file that stands there is replaced; the folder is made where it is missing.

    Raises:
        StorageError: If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


@contextmanager
def fresh(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Gives a path to write to, and puts what was written in its place, whole or not at all.

    Args:
        path: A file, or with `folder` a folder, that does not exist; an empty folder may.
        folder: Whether a folder is written.

    Raises:
        UsageError: If it exists.
        StorageError: If it cannot be written.
    """
    taken = path.exists() and not (folder and path.is_dir() and not any(path.iterdir()))
    if taken:
        raise UsageError(
            f"{path} exists already.",
            hint="Name another, or move it away: an export overwrites nothing.",
            path=str(path),
        )
    if not folder:
        with whole(path) as partial:
            yield partial
        return
    partial = path.with_name(f".{path.name}.part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _read_marker(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or "campaign" not in data:
            raise ValueError("no campaign named")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path.parent} is no run folder.", hint="`cloudseed run` makes one."
        ) from error
    return data


def unwritable(path: Path, error: OSError) -> StorageError:
    """Returns the error for a path that cannot be written."""
    return StorageError(
        f"{path} cannot be written: {error.strerror or error}.",
        hint="Check the folder's permissions and the free space, or use `--out`.",
        path=str(path),
    )
