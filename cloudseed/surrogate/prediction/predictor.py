"""Ready predictors: a property of any crystal from its string, with uncertainty and a warning."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import InputError
from cloudseed.surrogate.checkpoint import DEFAULT_ENCODER, open_checkpoint
from cloudseed.surrogate.encoder import CloudEncoder
from cloudseed.surrogate.prediction.heads import Head, read_heads
from cloudseed.surrogate.prediction.slack import thermal_conductivity
from cloudseed.surrogate.scope import ELEMENTS, parse
from cloudseed.units import PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["NEEDS_ATOMS", "ROOM", "Prediction", "Predictor", "resolve", "temperatures_of"]

ROOM = 300.0
"""The temperature in K where none is asked for; that of the heat capacities trained on."""

NEEDS_ATOMS = ("heat_capacity", "thermal_conductivity")
"""Properties that depend on temperature, and on how many atoms a cell holds."""

_SLACK = ("heat_capacity", "bulk_modulus", "shear_modulus", "volume")
_SAMPLES = 400
_HOTTEST = 10_000.0
_NAME = re.compile(r"(?P<name>[^@]*)(@(?P<kelvin>[^@]*?)\s*K?)?", re.ASCII)
_NOTES = {
    "thermal_conductivity": "an estimate by Slack's model from predicted Debye temperature, moduli"
    " and volume; no measured conductivity was trained on",
    "debye_temperature": "the Debye temperature that gives the predicted heat capacity at 300 K",
}


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is predicted of n materials.

    Attributes:
        property: The property's name.
        unit: Its unit; "" where dimensionless.
        values: n, or n x k where several temperatures were asked for.
        sd: Standard deviations, of the same shape.
        temperatures: In K, k; empty for a property that does not depend on it.
        flags: For each material why it is unlike the training data; empty where it is not.
        note: What to know of the method; "" where there is nothing.
    """

    property: str
    unit: str
    values: npt.NDArray[np.float64]
    sd: npt.NDArray[np.float64]
    temperatures: tuple[float, ...]
    flags: tuple[tuple[str, ...], ...]
    note: str


def resolve(name: str, known: Iterable[str]) -> tuple[str, float | None]:
    """Reads a property's name as people write it: dashes or underscores, with "@500K" or without.

    Args:
        name: For instance "heat-capacity" or "heat_capacity@500K".
        known: Names that exist.

    Returns:
        The name as in `cloudseed.units`, and the temperature in K if it names one.

    Raises:
        InputError: If there is no such property, or the temperature is no number above zero.

    >>> resolve("Band-Gap", ["band_gap"])
    ('band_gap', None)
    """
    names = sorted(known)
    match = _NAME.fullmatch(name.strip())
    wanted = re.sub(r"[\s-]+", "_", (match["name"] if match else name).strip().lower())
    if wanted not in names or match is None:
        near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
        raise InputError(
            f"There is no predictor of {name!r}.",
            hint=f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names)}.",
            property=name,
        )
    if match["kelvin"] is None:
        return wanted, None
    try:
        kelvin = float(match["kelvin"])
    except ValueError:
        kelvin = math.nan
    return wanted, temperatures_of(kelvin)[0]


def temperatures_of(given: float | Sequence[float] | None) -> tuple[float, ...]:
    """Returns temperatures in K, the room's where none is given.

    Raises:
        InputError: If there is none, or one is not above 0 and at most 10,000.
    """
    asked = np.atleast_1d(np.asarray(ROOM if given is None else given, dtype=float))
    bad = [t for t in asked.tolist() if not 0 < t <= _HOTTEST]
    if bad or not len(asked):
        told = f"{bad[0]:g} K is no temperature" if bad else "There is no temperature"
        raise InputError(
            f"{told} at which anything is predicted.",
            hint=f"Give temperatures above 0 and up to {_HOTTEST:g} K, such as 300.",
        )
    return tuple(asked.tolist())


@dataclass(frozen=True, eq=False)
class Predictor:
    """An encoder with its heads; make one with `Predictor.load`.

    Attributes:
        encoder: Reads the strings.
        heads: Property -> what was trained for it.
    """

    encoder: CloudEncoder
    heads: Mapping[str, Head]

    @classmethod
    def load(
        cls,
        source: str | Path = DEFAULT_ENCODER,
        *,
        revision: str | None = None,
        offline: bool = False,
    ) -> Predictor:
        """Loads a checkpoint and its heads.

        Args:
            source: A shipped name, a folder, or a hub id "owner/name".
            revision: Commit, tag or branch on the hub.
            offline: Whether to use only what the hub's cache already holds.

        Raises:
            EncoderError: If the checkpoint cannot be used, has no heads, or the heads belong to
                another encoder or were changed.
        """
        encoder = CloudEncoder.load(source, revision=revision, offline=offline)
        folder = open_checkpoint(source, revision=revision, offline=offline).folder
        return cls(encoder, read_heads(folder, encoder.id, encoder.dimension))

    @property
    def properties(self) -> tuple[str, ...]:
        """What can be predicted, by name."""
        names = set(self.heads)
        if "heat_capacity" in names:
            names.add("debye_temperature")
        if names.issuperset(_SLACK):
            names.add("thermal_conductivity")
        return tuple(sorted(names))

    def predict(
        self,
        property: str,  # noqa: A002  what it is called everywhere
        strings: Sequence[str],
        *,
        temperature: float | Sequence[float] | None = None,
        atoms: npt.ArrayLike | None = None,
    ) -> Prediction:
        """Predicts a property.

        Args:
            property: Its name, with dashes or underscores; "heat_capacity@500K" names a
                temperature.
            strings: SCOPE strings, n, best in the dialect of the encoder.
            temperature: In K, one or k; for a property that depends on it, 300 K by default.
            atoms: Atoms in the cell, n or one for all: for heat capacities in the cell that they
                are wanted for, such as a formula unit; for conductivities in the primitive cell.

        Raises:
            InputError: If the property or temperature does not exist, or atoms are missing.
            ScopeError: If a string cannot be read.
        """
        name, named = resolve(property, self.properties)
        asked = _asked(name, named, temperature)
        features = self.encoder.embed(strings)
        if name == "heat_capacity":
            cells = _cells(atoms, len(strings), name)
            values, sd = self._heat_capacity(features, np.array(asked), cells)
        elif name == "thermal_conductivity":
            cells = _cells(atoms, len(strings), name)
            values, sd = self._conductivity(strings, features, np.array(asked), cells)
        elif name == "debye_temperature":
            log, spread = self._summary("heat_capacity", features)
            values, sd = np.exp(log), np.exp(log) * spread
        else:
            values, sd = self._summary(name, features)
        one = values.ndim == 2 and (temperature is None or np.ndim(temperature) == 0)
        return Prediction(
            property=name,
            unit=PROPERTIES[name].unit,
            values=values[:, 0] if one else values,
            sd=sd[:, 0] if one else sd,
            temperatures=asked,
            flags=self._flags(name, strings, features),
            note=_NOTES.get(name, ""),
        )

    def _summary(
        self, name: str, features: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Returns values and calibrated standard deviations; ln(theta) for heat capacities."""
        return self.heads[name].summarise(features)

    def _heat_capacity(
        self,
        features: npt.NDArray[np.float32],
        temperatures: npt.NDArray[np.float64],
        atoms: npt.NDArray[np.float64],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Returns values and standard deviations, n x k; the error is that of ln(theta)."""
        import torch

        from cloudseed.surrogate.prediction.debye import heat_capacity, sensitivity

        log, spread = self._summary("heat_capacity", features)
        theta, kelvin = torch.from_numpy(np.exp(log))[:, None], torch.from_numpy(temperatures)
        value = heat_capacity(theta, kelvin).numpy()
        slope = np.abs(sensitivity(theta, kelvin).numpy())
        return atoms[:, None] * value, atoms[:, None] * slope * spread[:, None]

    def _conductivity(
        self,
        strings: Sequence[str],
        features: npt.NDArray[np.float32],
        temperatures: npt.NDArray[np.float64],
        atoms: npt.NDArray[np.float64],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Returns median and standard deviation, n x k, of conductivities of sampled properties.

        Every string gets the same draws, so that none depends on what else is asked for.
        """
        summaries = {name: self._summary(name, features) for name in _SLACK}
        rng = np.random.default_rng(0)
        noise = {name: rng.standard_normal(_SAMPLES) for name in _SLACK}
        masses = _masses(strings)
        middle, spread = np.empty((2, len(strings), len(temperatures)))
        for row in range(len(strings)):
            drawn = {}
            for name, (values, sds) in summaries.items():
                value, sd = values[row], sds[row]
                log = value if name == "heat_capacity" else np.log(value)
                relative = sd if name == "heat_capacity" else sd / value
                drawn[name] = np.exp(log + relative * noise[name])[:, None]
            sampled = thermal_conductivity(
                debye=drawn["heat_capacity"],
                bulk=drawn["bulk_modulus"],
                shear=drawn["shear_modulus"],
                volume=drawn["volume"],
                mass=masses[row],
                atoms=atoms[row],
                temperature=temperatures,
            )
            low, middle[row], high = np.quantile(sampled, (0.16, 0.5, 0.84), axis=0)
            spread[row] = (high - low) / 2
        return middle, spread

    def _flags(
        self, name: str, strings: Sequence[str], features: npt.NDArray[np.float32]
    ) -> tuple[tuple[str, ...], ...]:
        used = _SLACK if name == "thermal_conductivity" else (name,)
        used = ("heat_capacity",) if name == "debye_temperature" else used
        found = [self.heads[head].novelty.reasons(strings, features) for head in used]
        if len(used) == 1:
            return tuple(found[0])
        named = [
            tuple(
                f"{head.replace('_', ' ')}: {why}"
                for head, row in zip(used, rows, strict=True)
                for why in row
            )
            for rows in zip(*found, strict=True)
        ]
        return tuple(named)


def _asked(
    name: str, named: float | None, temperature: float | Sequence[float] | None
) -> tuple[float, ...]:
    """Returns the temperatures that are asked for, in K; none for a property without them."""
    if named is not None and temperature is not None:
        raise InputError(
            f"The property names {named:g} K, and another temperature was given.",
            hint="Give one of them.",
        )
    if name in NEEDS_ATOMS:
        return temperatures_of(named if named is not None else temperature)
    if named is not None or temperature is not None:
        raise InputError(
            f"{name} does not depend on temperature here.",
            hint=f"Leave the temperature out; those that do: {', '.join(NEEDS_ATOMS)}.",
        )
    return ()


def _cells(atoms: npt.ArrayLike | None, count: int, name: str) -> npt.NDArray[np.float64]:
    if atoms is None:
        raise InputError(
            f"The number of atoms in the cell is needed for {name}.",
            hint="A string does not tell it: give `atoms`, or a column n_atoms, or a structure.",
        )
    table: Any = np.asarray(atoms, dtype=np.float64)
    if table.ndim and table.shape != (count,):
        raise InputError(
            f"{count} strings came with {len(table)} numbers of atoms.", hint="Give one for each."
        )
    cells = np.broadcast_to(table, (count,))
    if not (cells >= 1).all():
        raise InputError(
            f"A cell cannot have {cells[~(cells >= 1)][0]:g} atoms.",
            hint="Give whole numbers from 1, for instance in a column n_atoms.",
        )
    return np.asarray(cells)


def _masses(strings: Sequence[str]) -> npt.NDArray[np.float64]:
    """Returns mean atomic masses in u."""
    from ase.data import atomic_masses

    table = []
    for string in strings:
        composition = parse(string).composition
        total = sum(fraction for _, fraction in composition) or 1.0
        table.append(
            sum(
                fraction * float(atomic_masses[ELEMENTS.index(element) + 1])
                for element, fraction in composition
            )
            / total
        )
    return np.array(table)
