"""Checks that a wheel holds what users need and nothing that they do not."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

NEEDED = (
    "cloudseed/py.typed",
    "cloudseed/surrogate/weights/cloud-small/model.safetensors",
    "cloudseed/surrogate/weights/cloud-small/config.json",
    "cloudseed/lab_adapters/data/chgnet_references.json",
    "cloudseed/lab_adapters/template/files/adapter.py.jinja",
    "cloudseed/lab_adapters/templates/work_order.html.jinja",
    "cloudseed/db/migrations/env.py",
    "cloudseed/loop/templates/report.html.jinja",
    "cloudseed/loop/templates/starter/campaign.yaml",
)
FORBIDDEN = ("tests/", "benchmarks/", "runs/", "shared/", ".csv.gz", ".db", ".venv")
LARGEST = 20_000_000


def main(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    missing = [name for name in NEEDED if name not in names]
    extra = [name for name in names for part in FORBIDDEN if part in name]
    size = wheel.stat().st_size
    for name in missing:
        print(f"missing: {name}")
    for name in extra:
        print(f"does not belong: {name}")
    if size > LARGEST:
        print(f"too large: {size / 1e6:.1f} MB")
    print(f"{wheel.name}: {len(names)} files, {size / 1e6:.1f} MB")
    return bool(missing or extra or size > LARGEST)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
