"""The process that reads an ASE database, row by row; started by `ase_db`, which tells why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudseed._parsing import LIMITS, Limits, serve_within

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["serve"]


def serve() -> None:
    """Answers each question, a path and its format, with the next row of that database."""
    rows: list[Iterator[Any]] = []

    def answer(question: dict[str, Any], limits: Limits) -> dict[str, Any]:
        try:
            if not rows:
                rows.append(_opened(question))
            row = next(rows[0], None)
            return {"end": True} if row is None else _plain(row)
        except MemoryError:
            return {"broken": f"it needs more than {limits.memory_gigabytes:g} GB of memory"}
        except Exception as error:  # sqlite3, JSON and ASE raise what they like
            return {"broken": type(error).__name__}

    serve_within("ase.db", answer)


def _opened(question: dict[str, Any]) -> Iterator[Any]:
    from ase.db import connect

    return iter(connect(question["path"], type=question["type"]).select(sort="id"))


def _plain(row: Any) -> dict[str, Any]:
    """Returns what is wanted of a row; of a cell that is too large only the number of sites."""
    from ase.data import chemical_symbols

    pairs = row.key_value_pairs.items()
    values = {k: float(v) for k, v in pairs if isinstance(v, int | float)}
    if "energy" in row:
        values["energy_per_atom"] = float(row.energy) / max(row.natoms, 1)
    found = {"id": row.id, "values": values, "sites": row.natoms, "periodic": bool(all(row.pbc))}
    if not found["periodic"] or row.natoms > LIMITS.sites:
        return found
    return found | {
        "lattice": [[float(x) for x in vector] for vector in row.cell],
        "species": [chemical_symbols[number] for number in row.numbers],
        "frac_coords": row.toatoms().get_scaled_positions(wrap=False).tolist(),
    }
