"""Predicts a property of structures or strings that a user names, by the heads of an encoder."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.crystal import Crystal, read_crystals
from cloudseed.errors import EmptyPoolError, InputError, ScopeError
from cloudseed.loop.listing import read_listing
from cloudseed.loop.workspace import write_text
from cloudseed.surrogate import NEEDS_ATOMS, Predictor, resolve_property, scope_string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cloudseed.surrogate import Prediction

__all__ = ["Predictions", "parse_temperatures", "predict_files"]

_MOST_TEMPERATURES = 2000
_SUFFIXES = (".cif", ".mcif", ".vasp", ".poscar", ".xyz", ".extxyz")
_STEMS = ("POSCAR", "CONTCAR")
_READERS = 2


@dataclass(frozen=True, eq=False)
class Predictions:
    """What is predicted of the materials that a user named.

    Attributes:
        names: What to call each, n.
        strings: The SCOPE strings that were read, n.
        atoms: Atoms per mole unit, n; empty where the property does not depend on it.
        prediction: Values, standard deviations and flags.
        encoder: Name of the encoder.
        notes: What was left out, and why.
    """

    names: tuple[str, ...]
    strings: tuple[str, ...]
    atoms: tuple[float, ...]
    prediction: Prediction
    encoder: str
    notes: tuple[str, ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields one plain row per material and temperature, as they go into a CSV."""
        found = self.prediction
        shape = (len(self.names), max(1, len(found.temperatures)))
        values, sd = found.values.reshape(shape), found.sd.reshape(shape)
        for i, name in enumerate(self.names):
            for j in range(shape[1]):
                row: dict[str, Any] = {"name": name}
                if found.temperatures:
                    row |= {"temperature": found.temperatures[j], "atoms": self.atoms[i]}
                row |= {found.property: float(values[i, j]), "sd": float(sd[i, j])}
                row |= {"unit": found.unit, "known": not found.flags[i]}
                yield row | {"flag": "; ".join(found.flags[i])}

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        found = self.prediction
        many = found.values.ndim == 2
        return {
            "property": found.property,
            "unit": found.unit,
            "encoder": self.encoder,
            "temperatures": list(found.temperatures),
            "note": found.note,
            "notes": list(self.notes),
            "rows": [
                {
                    "name": name,
                    "scope": string,
                    "value": found.values[i].tolist() if many else float(found.values[i]),
                    "sd": found.sd[i].tolist() if many else float(found.sd[i]),
                    "known": not found.flags[i],
                    "flags": list(found.flags[i]),
                    **({"atoms": self.atoms[i]} if self.atoms else {}),
                }
                for i, (name, string) in enumerate(zip(self.names, self.strings, strict=True))
            ],
        }

    def write_csv(self, path: Path) -> None:
        """Writes one line per material and temperature."""
        rows = list(self.rows())
        out = io.StringIO()
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, out.getvalue())


def parse_temperatures(text: str) -> list[float] | float:
    """Reads "300", "100,300,500" or "100:1000:50" (first, last, step), in K.

    Raises:
        InputError: If the text is none of these, or asks for more than 2,000 temperatures.

    >>> parse_temperatures("100:300:100")
    [100.0, 200.0, 300.0]
    """
    bare = text.strip().removesuffix("K").strip()
    try:
        if ":" not in bare:
            numbers = [float(part) for part in bare.split(",")]
            return numbers if len(numbers) > 1 else numbers[0]
        first, last, step = (float(part) for part in bare.split(":"))
        count = math.floor((last - first) / step + 1e-9) + 1 if step > 0 else 0
        if not 0 < count <= _MOST_TEMPERATURES:
            raise ValueError(text)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{text!r} is no temperature.",
            hint="Write 300, or 100,300,500, or 100:1000:50 for 100 to 1000 K in steps of 50;"
            f" at most {_MOST_TEMPERATURES}.",
        ) from error
    return [first + step * i for i in range(count)]


def predict_files(
    property: str,  # noqa: A002  what it is called everywhere
    paths: Sequence[Path],
    *,
    temperature: float | Sequence[float] | None = None,
    encoder: str = "cloud-small",
    skip_bad: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Predictions:
    """Predicts a property of everything that some files hold.

    Heat capacities are per mole of formula units where structures are given, and per mole of cells
    of `n_atoms` atoms where a CSV gives strings.

    Args:
        property: For instance "band-gap" or "heat_capacity@500K".
        paths: Structure files, folders of them, or CSVs with a column `cif` or `scope`.
        temperature: In K, one or several, for properties that depend on it.
        encoder: A shipped name, a folder or a hub id.
        skip_bad: Whether to leave out materials that cannot be used.
        progress: Told the task, how much is done and how much there is.

    Raises:
        InputError: If the property, a temperature or a file cannot be used.
        EncoderError: If the encoder has no heads.
    """
    predictor = Predictor.load(encoder)
    name, _ = resolve_property(property, predictor.properties)
    found: list[_Material] = []
    notes: list[str] = []
    for path in paths:
        materials, skipped = _read(path, name, skip_bad=skip_bad, progress=progress)
        found += materials
        notes += skipped
    if not found:
        raise EmptyPoolError(
            "None of the files holds a material that can be used.", hint="; ".join(notes[:3])
        )
    strings = [material.string(predictor.encoder.dialect) for material in found]
    atoms = np.array([m.count(name) for m in found]) if name in NEEDS_ATOMS else None
    progress("predicting", 0, 1)
    try:
        prediction = predictor.predict(property, strings, temperature=temperature, atoms=atoms)
    except ScopeError:
        kept, left_out = _readable(predictor, found, strings, skip_bad=skip_bad)
        notes += left_out
        found, strings = [found[i] for i in kept], [strings[i] for i in kept]
        atoms = atoms[kept] if atoms is not None else None
        prediction = predictor.predict(property, strings, temperature=temperature, atoms=atoms)
    progress("predicting", 1, 1)
    return Predictions(
        names=tuple(material.name for material in found),
        strings=tuple(strings),
        atoms=() if atoms is None else tuple(atoms.tolist()),
        prediction=prediction,
        encoder=predictor.encoder.name,
        notes=tuple(f"left out {note}" for note in notes),
    )


@dataclass(frozen=True, slots=True)
class _Material:
    """A crystal, or a string with the atoms of its cell."""

    name: str
    crystal: Crystal | None
    scope: str | None = None
    atoms: float | None = None

    def string(self, dialect: str) -> str:
        return scope_string(self.crystal, dialect) if self.crystal else str(self.scope)

    def count(self, name: str) -> float:
        """Atoms of the primitive cell for a conductivity, of the formula unit otherwise."""
        if self.crystal is None:
            if self.atoms is None or not self.atoms >= 1:
                raise InputError(
                    f"{self.name}: the number of atoms in the cell is needed for {name}.",
                    hint="Add a column n_atoms to the CSV, or give structures.",
                )
            return self.atoms
        counts = list(self.crystal.composition.values())
        return sum(counts) / (math.gcd(*counts) if name == "heat_capacity" else 1)


def _read(
    path: Path, name: str, *, skip_bad: bool, progress: Callable[[str, int, int], None]
) -> tuple[list[_Material], list[str]]:
    """Returns the materials of one path and what was left out of it."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and _is_structure(p))
        if not files:
            raise InputError(
                f"{path} holds no structure file.",
                hint=f"Structure files are POSCAR or end in {', '.join(_SUFFIXES)}.",
                path=str(path),
            )
        return _structures(files, path.name, skip_bad=skip_bad, progress=progress)
    if not path.name.lower().endswith((".csv", ".csv.gz")):
        return _structures([path], path.name, skip_bad=skip_bad, progress=progress)
    wants = ("n_atoms",) if name in NEEDS_ATOMS and "n_atoms" in _columns(path) else ()
    listing = read_listing(path, wants, skip_bad=skip_bad, progress=progress)
    atoms = listing.values["n_atoms"].tolist() if wants else [None] * len(listing.names)
    rows = zip(listing.names, listing.crystals, listing.scopes, atoms, strict=True)
    return [_Material(*row) for row in rows], list(listing.skipped)


def _columns(path: Path) -> list[str]:
    import pandas as pd

    try:
        return [str(column) for column in pd.read_csv(path, nrows=0).columns]
    except (OSError, ValueError, EOFError):
        # `read_listing` says what is wrong.
        return []


def _is_structure(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES or path.name.upper().startswith(_STEMS)


def _structures(
    files: Sequence[Path],
    where: str,
    *,
    skip_bad: bool,
    progress: Callable[[str, int, int], None],
) -> tuple[list[_Material], list[str]]:
    found, skipped = [], []
    readers = min(_READERS, len(files))
    for row, (path, result) in enumerate(
        zip(files, read_crystals(files, workers=readers), strict=True)
    ):
        progress(f"reading {where}", row + 1, len(files))
        if isinstance(result, Crystal):
            found.append(_Material(path.name, result))
        elif skip_bad:
            skipped.append(result.message)
        else:
            raise result
    return found, skipped


def _readable(
    predictor: Predictor, found: Sequence[_Material], strings: Sequence[str], *, skip_bad: bool
) -> tuple[list[int], list[str]]:
    """Returns which strings the encoder can read and what is wrong with the others, or raises."""
    kept, notes = [], []
    for row, (material, string) in enumerate(zip(found, strings, strict=True)):
        try:
            predictor.encoder.embed([string])
            kept.append(row)
        except ScopeError as error:
            message = f"{material.name}: {error.message}"
            if not skip_bad:
                hint = f"{error.hint} Or leave such materials out with --skip-bad."
                raise ScopeError(message, hint=hint, **error.data) from error
            notes.append(message)
    if not kept:
        raise EmptyPoolError("The encoder can read none of the materials.", hint=notes[0])
    return kept, notes
