"""Pools as files: Parquet, CSV, or a folder of CIFs with a table; and one candidate's papers."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any

from cloudseed.errors import InputError, UsageError
from cloudseed.loop.workspace import whole, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cloudseed.loop.proposing import Proposal

__all__ = ["COLUMNS", "check_pool_path", "explain", "read_papers", "write_pool"]

COLUMNS = (
    "rank",
    "key",
    "formula",
    "chemical_system",
    "space_group",
    "scope",
    "scope_dialect",
    "scope_path",
    "proposer",
    "operation",
    "parents",
    "log_probability",
    "probability_kind",
    "chosen",
    "doubts",
    "volume",
    "cif",
    "papers",
)
"""What a pool's table holds; `doubts` are the filters that could not judge, `papers` is JSON."""

TABLE = "candidates.csv"
"""The table beside a folder's CIFs."""

_TOGETHER = 10_000
_SUFFIXES = (".parquet", ".csv")


def check_pool_path(path: Path) -> None:
    """Refuses a place that a pool cannot be written to, before any work is done.

    Raises:
        UsageError: If the suffix is none of a pool's, or a folder already holds files.
    """
    if path.suffix.lower() in _SUFFIXES:
        return
    if path.suffix and not path.is_dir():
        raise UsageError(
            f"{path} has no known format.", hint="Name it .parquet or .csv, or name a folder."
        )
    if path.is_dir() and any(path.iterdir()):
        raise UsageError(f"The folder {path} is not empty.", hint="Name a new folder.")


def write_pool(
    path: Path,
    proposals: Sequence[Proposal],
    *,
    structures: bool = True,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> None:
    """Writes candidates.

    Args:
        path: A .parquet or .csv file, or a folder for CIFs.
        proposals: The candidates, best first.
        structures: Whether the table holds CIFs; a folder always does.
        progress: Told the task, how much is done and how much there is.

    Raises:
        StorageError: If it cannot be written.
    """
    folder = path.suffix.lower() not in _SUFFIXES
    rows = _rows(proposals, structures=structures or folder, progress=progress)
    if path.suffix.lower() == ".parquet":
        _write_parquet(path, rows)
    elif folder:
        _write_folder(path, rows, len(proposals))
    else:
        _write_csv(path, rows)


def _rows(
    proposals: Sequence[Proposal],
    *,
    structures: bool,
    progress: Callable[[str, int, int], None],
) -> Iterator[dict[str, Any]]:
    for rank, proposal in enumerate(proposals, start=1):
        progress("writing", rank, len(proposals))
        yield _row(rank, proposal, structures)


def _row(rank: int, proposal: Proposal, structures: bool) -> dict[str, Any]:
    kept, crystal = proposal.kept, proposal.crystal
    candidate = kept.candidate
    doubts = [r.filter for r in (*kept.results, *proposal.verdicts) if r.verdict == "unknown"]
    return {
        "rank": rank,
        "key": kept.key,
        "formula": crystal.formula,
        "chemical_system": crystal.chemical_system,
        "space_group": crystal.symmetry.space_group,
        "scope": proposal.scope,
        "scope_dialect": proposal.dialect,
        "scope_path": proposal.scope_path,
        "proposer": kept.origins[0].proposer,
        "operation": candidate.operation.name,
        "parents": "; ".join(candidate.parents),
        "log_probability": candidate.log_probability,
        "probability_kind": candidate.probability_kind,
        "chosen": kept.chosen,
        "doubts": "; ".join(doubts),
        "volume": proposal.volume,
        "cif": proposal.cell().to_cif() if structures else None,
        "papers": json.dumps(proposal.papers(), separators=(",", ":")),
    }


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"rank": pa.int64(), "space_group": pa.int16()}
    kinds |= {"log_probability": pa.float64(), "volume": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    with (
        whole(path) as partial,
        pq.ParquetWriter(partial, schema, compression="zstd") as writer,
    ):
        while some := [row for row, _ in zip(rows, range(_TOGETHER), strict=False)]:
            writer.write_table(pa.Table.from_pylist(some, schema))


def _write_folder(path: Path, rows: Iterator[dict[str, Any]], count: int) -> None:
    width = len(str(count))

    def filed() -> Iterator[dict[str, Any]]:
        for row in rows:
            name = f"{row['rank']:0{width}d}_{re.sub(r'[^A-Za-z0-9]', '', row['formula'])}.cif"
            write_text(path / name, row.pop("cif"))
            yield {"file": name, **row}

    _write_csv(path / TABLE, filed(), ("file", *(c for c in COLUMNS if c != "cif")))


def _write_csv(
    path: Path, rows: Iterator[dict[str, Any]], columns: Sequence[str] = COLUMNS
) -> None:
    """Writes rows as they come, whole or not at all."""
    with whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_papers(path: Path, what: str) -> dict[str, Any]:
    """Returns the papers of one candidate of a written pool.

    Args:
        path: The pool: a .parquet or .csv file, or a folder.
        what: The candidate's key, or its formula where only one has it.

    Raises:
        InputError: If the pool cannot be read.
        UsageError: If it holds no such candidate, or several.
    """
    table = path / TABLE if path.is_dir() else path
    found = _found(table, what)
    if len(found) == 1:
        papers: dict[str, Any] = json.loads(next(iter(found.values())))
        return papers
    if found:
        raise UsageError(
            f"{path} holds {len(found)} candidates {what!r}.",
            hint=f"Give a key: {', '.join(repr(key) for key in list(found)[:5])}.",
        )
    raise UsageError(
        f"{path} holds no candidate {what!r}.",
        hint="Give a key or a formula as the pool's table writes it.",
    )


def _found(table: Path, what: str) -> dict[str, str]:
    """Returns key -> papers of the rows that have a key or formula."""
    try:
        if table.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            columns = ["key", "formula", "papers"]
            named = [[("key", "==", what)], [("formula", "==", what)]]
            rows = pq.read_table(table, columns=columns, filters=named).to_pylist()
        else:
            csv.field_size_limit(10_000_000)
            with table.open(encoding="utf-8", newline="") as stream:
                rows = [
                    {name: row[name] for name in ("key", "formula", "papers")}
                    for row in csv.DictReader(stream)
                    if what in {row["key"], row["formula"]}
                ]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise InputError(
            f"{table} cannot be read as a pool.",
            hint="`cloudseed propose PARENTS --out pool.parquet` writes one.",
            path=str(table),
        ) from error
    by_key = {r["key"]: r["papers"] for r in rows if r["key"] == what}
    return by_key or {r["key"]: r["papers"] for r in rows if r["formula"] == what}


def explain(papers: dict[str, Any]) -> list[str]:
    """Returns a candidate's papers as lines for people."""
    lines = [f"{papers['formula']}   {papers['key']}"]
    for origin in papers["origins"]:
        lines.extend(_origin(origin))
    scope = papers.get("scope")
    if scope:
        lines.append(f"SCOPE ({scope['dialect']}, {scope['path']}): {scope['text']}")
    volume = papers.get("volume")
    if volume and "angstrom3" in volume:
        lines.append(f"volume {volume['angstrom3']:.1f} cubic angstrom ({volume['predictor']})")
    for result in papers["filters"]:
        because = f": {result['reason']}" if result["reason"] else ""
        lines.append(f"{result['filter']} {result['version']}: {result['verdict']}{because}")
    lines.append(f"chosen as {papers.get('chosen', 'all')}, seed {papers['seed']}")
    return lines


def _origin(origin: dict[str, Any]) -> Iterator[str]:
    parents = " and ".join(origin["parents"]) or "nothing"
    yield f"{origin['operation']} of {parents} by {origin['proposer']} {origin['proposer_version']}"
    arguments = origin["arguments"]
    if "species" in arguments:
        changes = [f"{old} -> {new}" for old, new in arguments["species"]]
        yield f"    {', '.join(changes)}"
    hidden = {"species", "table_sha256"}
    rest = {k: v for k, v in arguments.items() if k not in hidden}
    if rest:
        yield "    " + ", ".join(f"{k} {v}" for k, v in rest.items())
    kind, rank = origin["probability_kind"], origin["rank"]
    yield f"    log probability {origin['log_probability']:.3f} ({kind}), child {rank + 1}"
