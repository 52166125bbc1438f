"""A process that sends one request and may be killed meanwhile: see `Bench.send_and_die`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from cloudseed.errors import CloudseedError
from cloudseed.lab_adapters.protocols import ExperimentRequest
from cloudseed.lab_adapters.registry import load_lab


def main() -> None:
    """Sends what standard input says, tells how far it came, and waits for its end."""
    call = json.loads(sys.stdin.readline())
    try:
        lab = load_lab(call["adapter"], call["config"], Path(call["workdir"]), by_path=True)
        request = ExperimentRequest.from_json(call["request"])
        _say("sending")
        lab.submit(request)
        _say("sent")
    except CloudseedError as error:
        _say(error.message)
        return
    time.sleep(600)


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
