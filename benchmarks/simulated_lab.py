"""What the simulated lab says of three of the example's parents."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from cloudseed.crystal import Crystal
from cloudseed.lab_adapters import ExperimentRequest, Outcome, load_lab

PARENTS = Path(__file__).parents[1] / "examples" / "stiff-perovskites" / "parents"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = load_lab("mlip", {}, Path(folder))
        names = {}
        for path in (PARENTS / f"{name}.cif" for name in ("SrTiO3", "CaTiO3", "GdFeO3")):
            cell = Crystal.from_file(path).build()
            properties = ("bulk_modulus", "formation_energy")
            request = ExperimentRequest(path.stem, cell.formula, path.stem, cell, properties)
            names[lab.submit(request)] = path.stem
        while names:
            for message in lab.poll(list(names)):
                values = {m.property: m.value for m in Outcome.from_json(message.raw).measurements}
                print(
                    f"{message.key}: bulk modulus {values['bulk_modulus']:.1f} GPa,"
                    f" formation energy {values['formation_energy']:.3f} eV/atom"
                )
                names = {h: n for h, n in names.items() if n != message.key}
            time.sleep(0.2)
        lab.close(stop_jobs=True)


if __name__ == "__main__":
    main()
