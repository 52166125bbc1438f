"""The computed lab against textbooks: moduli, heat capacity, expansion, thermal conductivity.

`python benchmarks/mlip_properties.py` goes through simple crystals with CHGNet and prints for each
property the value, its uncertainty, the textbook's, and the seconds of processor time. `--only`
names steps (elastic, phonon, qha, kappa), `--materials` crystals; `--out` keeps the rows as JSON
lines, to which a later run adds. At the end it prints each step's median and largest seconds.

Textbook values, all near 300 K: heat capacities at constant pressure from the CRC Handbook of
Chemistry and Physics; elastic constants from Simmons & Wang, Single Crystal Elastic Constants
(1971), averaged here; expansion of the volume as three times the linear one of the CRC Handbook;
conductivities from Morelli & Slack, High Lattice Thermal Conductivity Solids (2006).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from statistics import median

from rich.console import Console

from cloudseed.crystal import Cell
from cloudseed.lab_adapters import ExperimentRequest
from cloudseed.lab_adapters.potentials import MlipSettings

STEPS = {
    "relax": ("volume", "energy"),
    "eos": ("bulk_modulus",),
    "elastic": ("shear_modulus",),
    "phonon": ("heat_capacity@300K",),
    "qha": ("thermal_expansion@300K", "heat_capacity_p@300K", "bulk_modulus@300K"),
    "kappa": ("thermal_conductivity@300K",),
}

# Crystal -> structure, lattice constant in angstrom, species, (Cp, (C11, C12, C44), alpha, kappa).
MATERIALS = {
    "Si": ("diamond", 5.43, ("Si", "Si"), (20.0, (165.7, 63.9, 79.6), 7.8e-6, 148.0)),
    "MgO": ("rock salt", 4.21, ("Mg", "O"), (37.2, (297.0, 95.0, 156.0), 31e-6, 60.0)),
    "NaCl": ("rock salt", 5.64, ("Na", "Cl"), (50.5, (48.7, 12.6, 12.75), 119e-6, 7.1)),
    "KCl": ("rock salt", 6.29, ("K", "Cl"), (51.3, (40.5, 6.9, 6.27), 110e-6, 7.1)),
    "LiF": ("rock salt", 4.03, ("Li", "F"), (41.6, (113.9, 47.6, 63.6), 99e-6, 17.6)),
    "CaO": ("rock salt", 4.81, ("Ca", "O"), (42.0, (221.0, 57.0, 80.0), 34e-6, 27.0)),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--materials", nargs="*", default=list(MATERIALS))
    arguments.add_argument("--only", nargs="*", default=list(STEPS), choices=list(STEPS))
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    console = Console()
    from cloudseed.lab_adapters.potentials import task

    settings = MlipSettings(temperatures=(300.0,), conductivity="kappa" in options.only)
    values = settings.model_dump(mode="json")
    task.warm_up(values)
    warnings.simplefilter("ignore")
    base: dict[str, float] = {}
    seconds: dict[str, list[float]] = {}
    for step in ["relax", *(s for s in options.only if s != "relax")]:
        for name in options.materials:
            wanted = ExperimentRequest("k", name, name, cell_of(name), STEPS[step])
            began = time.process_time()
            outcome = task.measure(wanted.to_json(), values)
            spent = time.process_time() - began
            base.setdefault(name, spent)
            row = {
                "material": name,
                "step": step,
                "cpu": round(spent - (base[name] if step != "relax" else 0.0), 2),
                "ended": outcome.kind.value,
                "why": outcome.reason,
                "values": {m.property: [m.value, m.sigma, m.quality] for m in outcome.measurements},
                "textbook": textbook(name, step),
            }
            seconds.setdefault(step, []).append(row["cpu"])
            console.print_json(json.dumps(row), indent=None)
            if options.out:
                with options.out.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
    for step, spent in seconds.items():
        console.print(f"{step}: {median(spent):.1f} s, at most {max(spent):.1f}")


def cell_of(name: str) -> Cell:
    """Returns the primitive cell."""
    kind, a, species, _ = MATERIALS[name]
    h, shift = a / 2, 0.25 if kind == "diamond" else 0.5
    lattice = ((0.0, h, h), (h, 0.0, h), (h, h, 0.0))
    return Cell(lattice, species, ((0.0, 0.0, 0.0), (shift, shift, shift)))


def textbook(name: str, step: str) -> float | None:
    """Returns what is tabulated for the step's first property, in its unit."""
    capacity, (c11, c12, c44), expansion, conductivity = MATERIALS[name][3]
    shear = (c11 - c12) / 2
    voigt, reuss = (2 * shear + 3 * c44) / 5, 5 * shear * c44 / (2 * c44 + 3 * shear)
    return {
        "relax": None,
        "eos": (c11 + 2 * c12) / 3,
        "elastic": (voigt + reuss) / 2,
        "phonon": capacity,
        "qha": expansion,
        "kappa": conductivity,
    }[step]


if __name__ == "__main__":
    main()
