"""Authorities of certificates made on the spot, by openssl."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

OPENSSL = shutil.which("openssl")

needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")

_NEW = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """Signs certificates; its own is `pem`."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.pem, self._key, self._folder = folder / f"{name}.pem", folder / f"{name}.key", folder
        _openssl(
            *("req", "-x509", *_NEW, "-days", "2", "-subj", f"/CN={name}"),
            *("-keyout", self._key, "-out", self.pem),
        )

    def certificate(self, name: str, names: str = "DNS:localhost", days: int = 2) -> Path:
        """Returns a file with a certificate that it signed; the key is beside it, as `.key`."""
        made = self._folder / f"{name}.pem"
        asked, more = made.with_suffix(".csr"), made.with_suffix(".ext")
        more.write_text(f"subjectAltName={names}\n")
        _openssl(
            *("req", "-new", *_NEW, "-subj", f"/CN={name}"),
            *("-keyout", made.with_suffix(".key"), "-out", asked),
        )
        _openssl(
            *("x509", "-req", "-in", asked, "-CA", self.pem, "-CAkey", self._key),
            *("-CAcreateserial", "-days", days, "-extfile", more, "-out", made),
        )
        return made


def _openssl(*words: object) -> None:
    assert OPENSSL is not None
    subprocess.run([OPENSSL, *map(str, words)], check=True, capture_output=True)
