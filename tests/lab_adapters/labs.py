"""The labs that the contract is tested on, by name, so that another process can open them too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudseed.lab_adapters import load_lab
from tests.lab_adapters.kit import PoolLab

if TYPE_CHECKING:
    from pathlib import Path

    from cloudseed.lab_adapters import LabAdapter

LABS = ("mlip", "pool", "table", "table-delayed")
MATERIALS = ("SrTiO3", "CaTiO3", "BaTiO3")
"""Every lab of the contract can measure the energy of these."""


def open_lab(name: str, folder: Path) -> LabAdapter:
    """Opens a lab whose jobs take a moment; the same folder gives the same lab."""
    workdir = folder / "lab"
    if name == "pool":
        return PoolLab(workdir, delay=0.3)
    if name == "mlip":
        return load_lab("mlip", {"concurrency": 1}, workdir)
    table = folder / "table.csv"
    if not table.exists():
        rows = [f"{m},{-8.0 - n},{100 + n}" for n, m in enumerate(MATERIALS)]
        table.write_text("\n".join(["formula,energy,bulk_modulus", *rows]) + "\n")
    delay = 0.5 if name == "table-delayed" else 0.0
    return load_lab("table", {"path": str(table), "delay": delay, "concurrency": 2}, workdir)
