"""A process that owns a lab, for tests that kill it: NAME FOLDER."""

import sys
import time
from pathlib import Path

from tests.lab_adapters.kit import request
from tests.lab_adapters.labs import MATERIALS, open_lab

if __name__ == "__main__":
    lab = open_lab(sys.argv[1], Path(sys.argv[2]))
    for material in MATERIALS:
        lab.submit(request(f"key-{material}", material))
    print("submitted", flush=True)  # noqa: T201
    time.sleep(120)
