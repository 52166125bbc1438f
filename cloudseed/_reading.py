"""Foreign structure files, parsed in a process of their own under limits of size, time and memory.

A small CIF can ask for minutes of work or gigabytes (many sites times many operations), and
parsers meet broken files daily. `read_cells` therefore sends each text to a worker process and
kills it when it exceeds its limits; the next text gets a fresh worker. One JSON line goes each
way; a worker whose parent is gone reads the end of its input and leaves.
"""

from __future__ import annotations

import importlib
import io
import itertools
import json
import math
import os
import queue
import re
import selectors
import subprocess
import sys
import time
import warnings
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from cloudseed.errors import InputError, StructureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pymatgen.core import Structure

__all__ = ["LIMITS", "Limits", "PlainCell", "Source", "plain_cell", "read_cells"]

SHORTEST_DISTANCE = 0.5
"""Atoms closer than this, in angstrom, are taken for an error: the H-H bond is 0.74 long."""

STARTUP_SECONDS = 120.0
"""What a worker may take to import its parsers, on a busy machine with a cold disk."""

Row = tuple[float, float, float]
Source = str | Path | tuple[str, str]
"""A path, or a name and the text of a CIF."""


class PlainCell(NamedTuple):
    """A checked cell as plain values; lattice rows in angstrom."""

    lattice: tuple[Row, Row, Row]
    species: tuple[str, ...]
    frac_coords: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one structure may cost.

    Attributes:
        megabytes: Size of its text, in units of 10^6 bytes.
        sites: Sites in the cell, after the symmetry operations.
        cpu_seconds: Processor time of the parser, rounded up to whole seconds.
        wall_seconds: Time on the clock, for a parser that waits instead of computing.
        memory_gigabytes: Address space of the worker.
    """

    megabytes: float = 1.0
    sites: int = 500
    cpu_seconds: float = 5.0
    wall_seconds: float = 20.0
    memory_gigabytes: float = 4.0


LIMITS = Limits()


class _Task(NamedTuple):
    name: str
    format: str
    text: str


def read_cells(
    sources: Iterable[Source], *, workers: int = 1, limits: Limits = LIMITS
) -> Iterator[PlainCell | InputError]:
    """Yields, in order, the checked cell of each source or the error that it gave.

    Args:
        sources: Paths, or pairs of a name and the text of a CIF.
        workers: Processes that parse at the same time.
        limits: What one structure may cost.
    """
    tasks = (_task(source, limits) for source in sources)
    with _pool(workers, limits) as read:
        yield from read(tasks)


def plain_cell(structure: Structure) -> PlainCell:
    """Returns a pymatgen structure as a plain cell.

    Oxidation states, magnetic moments and labels are dropped; deuterium and tritium become H.

    Raises:
        StructureError: If it has no atoms or no volume, or if a site is partly occupied, holds no
            element or is on top of another.
    """
    if len(structure) == 0:
        raise StructureError("The structure has no atoms.", hint="Check that the file is complete.")
    if not structure.is_ordered:
        raise StructureError(
            f"{structure.composition.reduced_formula} has partly occupied sites.",
            hint="Order it first, for instance with pymatgen's"
            " OrderDisorderedStructureTransformation.",
        )
    species = tuple(_element(site.specie) for site in structure)
    lattice = _rows(structure.lattice.matrix)
    coords = _rows(structure.frac_coords)
    if not all(map(math.isfinite, itertools.chain(*lattice, *coords))):
        raise StructureError("A coordinate is not a number.", hint="Check the lattice and sites.")
    if not structure.volume > 0:
        raise StructureError("The lattice has no volume.", hint="Check the lattice parameters.")
    _refuse_overlaps(structure)
    return PlainCell((lattice[0], lattice[1], lattice[2]), species, coords)


def _rows(matrix: Any) -> tuple[Row, ...]:
    return tuple((float(a), float(b), float(c)) for a, b, c in matrix)


def _element(specie: Any) -> str:
    from pymatgen.core import Element

    symbol = str(getattr(specie, "symbol", specie))
    symbol = {"D": "H", "T": "H"}.get(symbol, symbol)
    if not Element.is_valid_symbol(symbol):
        raise StructureError(
            f"{symbol!r} is not an element.",
            hint="Replace dummy species and vacancies by real elements, or remove them.",
            element=symbol,
        )
    return symbol


def _refuse_overlaps(structure: Structure) -> None:
    first, second, _, distances = structure.get_neighbor_list(SHORTEST_DISTANCE)
    if len(first):
        raise StructureError(
            f"Sites {first[0]} and {second[0]} of {structure.composition.reduced_formula} are only"
            f" {distances[0]:.2f} angstrom apart.",
            hint="Check the lattice parameters and coordinates; overlapping atoms are refused.",
            sites=(int(first[0]), int(second[0])),
        )


# The parent's side.


def _task(source: Source, limits: Limits) -> _Task | InputError:
    """Reads a source's text, or says why it cannot be read."""
    try:
        if isinstance(source, tuple):
            name, text = source
            _refuse_large(name, len(text), limits)
            return _Task(name, "cif", text)
        path = Path(source)
        _refuse_no_file(path)
        return _Task(str(path), _format(path), _text(path, limits))
    except InputError as error:
        return error


def _refuse_no_file(path: Path) -> None:
    if not path.exists():
        raise InputError(
            f"There is no file {path}.",
            hint="Check the path; it is relative to the folder you are in.",
            path=str(path),
        )
    if not path.is_file():
        raise InputError(
            f"{path} is not a file.",
            hint="Give the files in it, for instance folder/*.cif.",
            path=str(path),
        )


def _text(path: Path, limits: Limits) -> str:
    _refuse_large(str(path), path.stat().st_size, limits)
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}.",
            hint="Check its permissions.",
            path=str(path),
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not a text file.", hint="Save it as UTF-8 text.", path=str(path)
        ) from error


def _refuse_large(name: str, size: int, limits: Limits) -> None:
    if size > limits.megabytes * 1e6:
        raise StructureError(
            f"{name} has {size / 1e6:.1f} MB; at most {limits.megabytes:g} MB are read.",
            hint="Give one crystal a file, without reflection data.",
            source=name,
        )


def _format(path: Path) -> str:
    suffix, name = path.suffix.lower(), path.name.upper()
    if suffix in {".cif", ".mcif"}:
        return "cif"
    if suffix in {".vasp", ".poscar"} or name.startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    if suffix in {".xyz", ".extxyz"}:
        return "extxyz"
    raise InputError(
        f"{path} has no known structure format.",
        hint="Name it .cif, .vasp, .extxyz or POSCAR, by what it holds.",
        path=str(path),
    )


@contextmanager
def _pool(workers: int, limits: Limits) -> Iterator[Any]:
    """Gives a function that turns tasks into results, in order, with that many workers."""
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    everyone = [_Worker(limits) for _ in range(max(1, workers))]
    for worker in everyone:
        idle.put(worker)
    executor = ThreadPoolExecutor(len(everyone), thread_name_prefix="cloudseed-reading")

    def one(task: _Task | InputError) -> PlainCell | InputError:
        if isinstance(task, InputError):
            return task
        worker = idle.get()
        try:
            return worker.read(task)
        finally:
            idle.put(worker)

    def read(tasks: Iterator[_Task | InputError]) -> Iterator[PlainCell | InputError]:
        pending: deque[Future[PlainCell | InputError]] = deque()
        for task in tasks:
            pending.append(executor.submit(one, task))
            if len(pending) > 2 * len(everyone):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    try:
        yield read
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        for worker in everyone:
            worker.stop()


class _Worker:
    """A parsing process, started when first needed and replaced when it had to be killed."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, task: _Task) -> PlainCell | InputError:
        """Parses one text."""
        try:
            process = self._process or self._start()
            assert process.stdin is not None
            process.stdin.write(json.dumps(task._asdict()).encode() + b"\n")
            process.stdin.flush()
            line = self._line(process, self.limits.wall_seconds)
        except OSError:
            line = b""
        if line is None or not line.endswith(b"\n"):
            return self._died(task, waited=line is None)
        answer = json.loads(line)
        if "error" in answer:
            return StructureError(
                f"{task.name}: {answer['error']}", hint=answer["hint"], source=task.name
            )
        lattice = _rows(answer["lattice"])
        return PlainCell(
            (lattice[0], lattice[1], lattice[2]),
            tuple(answer["species"]),
            _rows(answer["frac_coords"]),
        )

    def stop(self) -> None:
        """Ends the process, if there is one."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()

    def _start(self) -> subprocess.Popen[bytes]:
        home = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        self._process = process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from cloudseed._reading import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(self.limits)).encode() + b"\n")
        process.stdin.flush()
        if self._line(process, STARTUP_SECONDS) != b"ready\n":
            self.stop()
            raise InputError(
                "The process that parses structure files did not start.",
                hint="Check that `python -c 'import pymatgen.core'` works and that memory is free.",
            )
        return process

    def _died(self, task: _Task, *, waited: bool) -> StructureError:
        """Puts away a worker that gave no answer, and says why it gave none."""
        limits, process = self.limits, self._process
        code = None if process is None or waited else process.wait(timeout=10)
        self.stop()
        # SIGXCPU is the processor-time limit.
        if waited or code == -24:
            why = f"takes longer to parse than {limits.cpu_seconds:g} s and was stopped"
        else:
            why = "made its parser crash"
        return StructureError(
            f"{task.name}: {why}.",
            hint="Simplify it: one crystal, ordered, few sites before the symmetry operations.",
            source=task.name,
        )

    @staticmethod
    def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
        """Returns the next line, what there is of it at the end of output, or None when late."""
        assert process.stdout is not None
        handle, deadline, parts = process.stdout.fileno(), time.monotonic() + seconds, b""
        with selectors.DefaultSelector() as selector:
            selector.register(handle, selectors.EVENT_READ)
            while not parts.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                chunk = os.read(handle, 1 << 16)
                if not chunk:
                    break
                parts += chunk
        return parts


# The worker's side.


def serve() -> None:
    """Reads tasks from standard input and answers on standard output, until the input ends."""
    import resource

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a parser prints must not be taken for an answer
    limits = Limits(**json.loads(sys.stdin.readline()))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from pymatgen.core import Structure  # noqa: F401  loaded before memory is limited

    size = int(limits.memory_gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    _answer(answers, "ready")
    for line in sys.stdin:
        task = _Task(**json.loads(line))
        for module in _PARSERS[task.format]:
            importlib.import_module(module)  # before the clock runs
        budget = math.ceil(time.process_time() + limits.cpu_seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (budget, hard))
        _answer(answers, json.dumps(_parse_safely(task, limits)))


def _answer(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()


def _parse_safely(task: _Task, limits: Limits) -> dict[str, Any]:
    """Returns a plain cell or an error with its hint; lets nothing out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = _parse(task)
            if len(structure) > limits.sites:
                raise StructureError(
                    f"the cell has {len(structure)} sites; at most {limits.sites} are taken.",
                    hint="Give a smaller cell.",
                )
            return plain_cell(structure)._asdict()
    except StructureError as error:
        return {"error": error.message, "hint": error.hint}
    except MemoryError:
        return {
            "error": f"parsing needs more than {limits.memory_gigabytes:g} GB of memory.",
            "hint": "Give a smaller cell.",
        }
    except Exception as error:  # any parser, any file
        # Only these are written for people; "list index out of range" helps nobody.
        said = str(error).strip().splitlines() if isinstance(error, ValueError | OSError) else []
        why = f" ({said[0][:200].rstrip('.')})" if said else ""
        return {
            "error": f"it cannot be parsed as {_FORMAT_NAMES[task.format]}{why}.",
            "hint": "Open it in a structure viewer, repair it or export it again.",
        }


_PARSERS = {
    "cif": ("pymatgen.io.cif",),
    "poscar": ("pymatgen.io.vasp.inputs",),
    "extxyz": ("ase.io.extxyz", "pymatgen.io.ase"),
}
_FORMAT_NAMES = {"cif": "CIF", "poscar": "POSCAR", "extxyz": "extended XYZ"}


def _parse(task: _Task) -> Structure:
    if not task.text.strip():
        raise StructureError("the file is empty.", hint="Export it again.")
    return {"cif": _parse_cif, "poscar": _parse_poscar, "extxyz": _parse_extxyz}[task.format](
        task.text
    )


def _parse_cif(text: str) -> Structure:
    from pymatgen.io.cif import CifParser

    _refuse_strange_symbols(text)
    parser = CifParser(io.StringIO(text))
    structures = parser.parse_structures(primitive=False, on_error="raise")
    _refuse_several(len(structures))
    return structures[0]


def _refuse_strange_symbols(text: str) -> None:
    """Refuses what pymatgen would take for an element: "Vac" for V, "Wat" for O, "?" for nothing."""
    from pymatgen.io.cif import CifFile

    for block in CifFile.from_str(text).data.values():
        symbols = block.data.get("_atom_site_type_symbol")
        suffix = r"(\d*[+-]|[+-]\d+|0)?"
        if symbols is None:
            symbols = block.data.get("_atom_site_label", [])
            suffix = r"([\d+(_'*-].*)?"
        for symbol in sorted(set(symbols)):
            match = re.fullmatch(rf"([A-Za-z]{{1,2}}){suffix}", symbol)
            if match is None or not _names_element(match[1]):
                raise StructureError(
                    f"{symbol!r} is not an element.",
                    hint="Write element symbols such as Ca, C or Ca2+ under"
                    " _atom_site_type_symbol; vacancies and dummies cannot be read.",
                )


def _names_element(letters: str) -> bool:
    """Tells whether letters name one element; CA does, CO may be carbon and oxygen."""
    from pymatgen.core import Element

    if letters.isupper() and len(letters) == 2 and all(map(Element.is_valid_symbol, letters)):
        return False
    return bool(Element.is_valid_symbol(letters.capitalize()))


def _parse_poscar(text: str) -> Structure:
    from pymatgen.io.vasp import Poscar

    poscar = Poscar.from_str(text)
    if not poscar.true_names:
        raise StructureError(
            "it does not name its elements.", hint="Put the symbols on the sixth line (VASP 5)."
        )
    return poscar.structure


def _parse_extxyz(text: str) -> Structure:
    from ase.io import read
    from pymatgen.io.ase import AseAtomsAdaptor

    frames = read(io.StringIO(text), index=":", format="extxyz")
    _refuse_several(len(frames))
    if not all(frames[0].pbc):
        raise StructureError(
            "the atoms are not periodic in three directions.",
            hint='Give the lattice in the second line: Lattice="..." pbc="T T T".',
        )
    return AseAtomsAdaptor.get_structure(frames[0])


def _refuse_several(count: int) -> None:
    if count != 1:
        raise StructureError(f"it holds {count} structures.", hint="Give one crystal a file.")
