"""An agent that may be killed: sends what it has no answer to, records each message, as an engine.

Usage: python -m tests.faults.gateway_agent URL INBOX JOBS
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from cloudseed.errors import LabError
from tests.lab_adapters.gateways import client
from tests.lab_adapters.kit import request


def main() -> None:
    url, inbox, jobs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    lab = client(url, timeout=5.0)
    keys = [f"job-{n}" for n in range(jobs)]
    while not all(key in _recorded(inbox) for key in keys):
        try:
            todo = [key for key in keys if key not in _recorded(inbox)][:8]
            handles = [lab.submit(request(key)) for key in todo]
            for message in lab.poll(handles):
                _record(inbox, message.message_id, message.key)
        except LabError:
            time.sleep(0.05)


def _recorded(inbox: Path) -> set[str]:
    lines = inbox.read_text().splitlines(keepends=True) if inbox.exists() else []
    return {json.loads(line)["key"] for line in lines if line.endswith("\n")}


def _record(inbox: Path, message: str, key: str) -> None:
    if key in _recorded(inbox):
        return
    descriptor = os.open(inbox, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, json.dumps({"id": message, "key": key}).encode() + b"\n")
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
