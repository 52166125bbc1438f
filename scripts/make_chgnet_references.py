"""Measures the elemental reference energies of CHGNet that `MlipLab` ships with.

Each element's ground state, as tabulated by matcalc from MatPES (Kaplan et al., arXiv:2503.04070,
PBE), is relaxed by CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023),
doi:10.1038/s42256-023-00716-3), with one optimiser and, where that gets stuck, another. An element
that neither can relax is left out.

    OMP_NUM_THREADS=1 nice python scripts/make_chgnet_references.py
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "cloudseed" / "lab_adapters" / "data"
TABLE = "MatPES-PBE"
FMAX = 0.01
"""eV/angstrom: tight, for an error here would be in every formation energy."""
MAX_STEPS = 1000
OPTIMIZERS = ("FIRE", "BFGS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="measure these elements, print, write nothing")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    relaxers = make_relaxers()
    references: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for element, structure in sorted(ground_states().items()):
        if arguments.only and element not in arguments.only:
            continue
        found = measure(relaxers, structure)
        (references if isinstance(found, dict) else absent)[element] = found
        print(element, found, flush=True)
    if not arguments.only:
        write(references, absent)


def make_relaxers() -> list[Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        from chgnet.model import CHGNetCalculator
        from matcalc import RelaxCalc

        calculator = CHGNetCalculator(use_device="cpu", on_isolated_atoms="error")
    return [
        RelaxCalc(calculator, optimizer=optimizer, fmax=FMAX, max_steps=MAX_STEPS)
        for optimizer in OPTIMIZERS
    ]


def ground_states() -> dict[str, Any]:
    import matcalc
    from monty.serialization import loadfn

    folder = Path(matcalc.__file__).parent / "elemental_refs"
    table = loadfn(folder / f"{TABLE}-Element-Refs.json.gz")
    return {element: entry["structure"] for element, entry in table.items()}


def measure(relaxers: list[Any], structure: Any) -> dict[str, Any] | str:
    """Returns the entry of one element, or why it has none."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    structure = structure.copy()
    if "magmom" in structure.site_properties:
        structure.remove_site_property("magmom")
    for relax in relaxers:
        try:
            result = relax.calc(structure)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        if result["is_converged"]:
            break
    else:
        return f"not converged: {result['max_force']:.3f} eV/angstrom after {MAX_STEPS} steps"
    relaxed = result["final_structure"]
    return {
        "energy": round(float(result["energy"]) / len(relaxed), 6),
        "volume": round(float(relaxed.volume) / len(relaxed), 4),
        "sites": len(relaxed),
        "space_group": SpacegroupAnalyzer(structure, symprec=0.1).get_space_group_number(),
    }


def write(references: dict[str, Any], absent: dict[str, str]) -> None:
    table = {
        "about": "CHGNet's energies of the elements, by scripts/make_chgnet_references.py",
        "units": {"energy": "eV/atom", "volume": "angstrom^3/atom"},
        "structures": f"matcalc elemental_refs {TABLE}, relaxed with their cells",
        "fmax": FMAX,
        "model": "CHGNet 0.3.0",
        "versions": {name: version(name) for name in ("chgnet", "matcalc", "ase", "torch")},
        "elements": references,
        "absent": absent,
    }
    TARGET.mkdir(exist_ok=True)
    text = json.dumps(table, indent=1, sort_keys=True)
    (TARGET / "chgnet_references.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
