"""The command line: parse, call the loop, print."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path

from cloudseed._printable import printable
from cloudseed.errors import CloudseedError

__all__ = ["main"]

INTERRUPTED = 130


def main() -> None:
    """Runs the command line and exits.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. No error shows a traceback, unless
    the environment variable `CLOUDSEED_DEBUG` is set.
    """
    from cloudseed.cli.app import app

    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        _say("interrupted", "Nothing that was recorded is lost; `cloudseed resume` goes on.")
        code = INTERRUPTED
    except CloudseedError as error:
        if os.environ.get("CLOUDSEED_DEBUG"):
            raise
        _say(f"error: {error.message}", error.hint)
        code = error.exit_code
    except BrokenPipeError:
        # The reader of our output, such as `head`, has gone: there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        code = _other(error)
    sys.exit(code if isinstance(code, int) else 0)


def _other(error: Exception) -> int:
    """Tells of an error that is not ours: a usage error of click's, a full disk, or a defect."""
    show = getattr(error, "show", None)
    if callable(show):
        show()
        return int(getattr(error, "exit_code", 2))
    if type(error).__name__ in {"Abort", "Exit"}:
        return int(getattr(error, "exit_code", 1))
    if os.environ.get("CLOUDSEED_DEBUG"):
        raise error
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        _say(f"error: {error.strerror or error}{where}.", "Check the folder and the free space.")
        return 1
    with tempfile.NamedTemporaryFile(
        "w", prefix="cloudseed-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exception(error, file=file)
    _say(
        f"error: cloudseed met an unexpected {type(error).__name__}: {error}",
        f"This is a defect of cloudseed; please report it with {Path(file.name)}.",
    )
    return 1


def _say(message: str, hint: str = "") -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    console.print(printable(message, keep="\n"), style="red", markup=False, soft_wrap=True)
    if hint:
        console.print(f"hint: {printable(hint, keep=chr(10))}", markup=False, soft_wrap=True)
