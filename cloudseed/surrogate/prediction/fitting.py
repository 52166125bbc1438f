"""Trains property heads on an encoder's frozen embeddings.

Which part of a table a material belongs to follows from its composition (`surrogate.splits`): a
tenth is never trained on and gives the errors on the card, another tenth tells when to stop, how
wide errors are, and which distance is far.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import FitError, InputError
from cloudseed.surrogate.prediction.heads import Head, write_heads
from cloudseed.surrogate.prediction.novelty import fit_novelty
from cloudseed.surrogate.splits import TEST, VALIDATION, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from cloudseed.surrogate.encoder import CloudEncoder
    from cloudseed.surrogate.prediction.links import Link, LinkKind

__all__ = ["LINKS", "PropertyTable", "cross_validated", "fit_head", "fit_heads"]

LINKS: Mapping[str, LinkKind] = MappingProxyType(
    {
        "formation_energy": "linear",
        "energy_above_hull": "hurdle",
        "band_gap": "hurdle",
        "bulk_modulus": "log",
        "shear_modulus": "log",
        "refractive_index": "log",
        "volume": "log",
        "heat_capacity": "debye",
    }
)
"""Properties that heads can be trained for, and how their values are distributed."""

STEPS = 1500
_LEAST = 30


@dataclass(frozen=True, eq=False)
class PropertyTable:
    """What a head is trained on.

    Attributes:
        strings: SCOPE strings, n; a material may come in both dialects.
        values: In the unit of `cloudseed.units`, n; heat capacities at 300 K, of whole cells.
        atoms: Atoms in each cell, n; for heat capacities only.
    """

    strings: Sequence[str]
    values: npt.NDArray[np.float64]
    atoms: npt.NDArray[np.float64] | None = None


def fit_heads(
    encoder: CloudEncoder,
    tables: Mapping[str, PropertyTable],
    folder: Path,
    *,
    seed: int = 0,
    steps: int = STEPS,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Head]:
    """Trains a head for every table and writes them into the encoder's folder.

    Args:
        encoder: Whose embeddings the heads read.
        tables: Property -> what is known of it.
        folder: The encoder's folder, which receives `heads.safetensors` and `heads.json`.
        seed: Seed of all randomness.
        steps: Training steps per head, at most.
        progress: Told the task, how much is done and how much there is.

    Returns:
        The heads as they were written.

    Raises:
        InputError: If a table is for an unknown property, or holds a value that cannot be one.
        ScopeError: If a string cannot be read.
        FitError: If too few materials are in one of the parts.
    """
    for name, table in tables.items():
        _check(name, table)
    unique = list(dict.fromkeys(s for table in tables.values() for s in table.strings))
    vectors = encoder.embed(unique, progress=lambda done, of: progress("embedding", done, of))
    where = {string: row for row, string in enumerate(unique)}
    heads = {}
    for name, table in tables.items():
        features = vectors[[where[string] for string in table.strings]]
        heads[name] = fit_head(
            name,
            table,
            features,
            seed=seed,
            steps=steps,
            progress=lambda done, of, name=name: progress(name, done, of),  # type: ignore[misc]
        )
    write_heads(folder, encoder.id, heads)
    return heads


def _check(name: str, table: PropertyTable) -> None:
    if name not in LINKS:
        raise InputError(
            f"No head can be trained for {name!r}.", hint=f"Known: {', '.join(LINKS)}."
        )
    values = np.asarray(table.values, dtype=np.float64)
    if values.shape != (len(table.strings),):
        raise InputError(f"The table of {name} has {values.shape} values.", hint="One per string.")
    positive = LINKS[name] in ("log", "debye")
    wrong = ~np.isfinite(values) | ((values <= 0) & positive)
    wrong |= (values < 0) & (LINKS[name] == "hurdle")
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        what = "a finite number above zero" if positive else "a finite number"
        raise InputError(
            f"Row {row + 1} of the table of {name} holds {values[row]}, not {what}.",
            hint="Leave out rows without a value.",
            row=row,
        )
    if LINKS[name] == "debye" and (table.atoms is None or not (np.asarray(table.atoms) >= 1).all()):
        raise InputError(
            f"The table of {name} lacks the number of atoms in a cell.",
            hint="Give it for every row, for instance from a column n_atoms.",
        )


def fit_head(
    name: str,
    table: PropertyTable,
    features: npt.NDArray[np.float32],
    *,
    seed: int = 0,
    steps: int = STEPS,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Head:
    """Trains the head of one property; see `fit_heads`.

    Args:
        name: The property.
        table: What is known of it.
        features: Embeddings of its strings, n x d.
        seed: Seed of all randomness.
        steps: Training steps, at most.
        progress: Told how many steps are done, and of how many.
    """
    import torch

    from cloudseed.surrogate.prediction.ensemble import train_ensemble
    from cloudseed.surrogate.prediction.links import link_for

    train, validation, test = _parts(name, table.strings)
    atoms = np.ones(len(features)) if table.atoms is None else np.asarray(table.atoms, dtype=float)
    values = torch.from_numpy(np.asarray(table.values, dtype=float) / atoms).float()
    link = link_for(LINKS[name], values[train])
    x = torch.from_numpy(features)
    ensemble = train_ensemble(
        x,
        values,
        link,
        torch.from_numpy(train),
        torch.from_numpy(validation),
        steps=steps,
        seed=seed,
        progress=progress,
    )
    for parameter in ensemble.parameters():
        # As it will be read back.
        parameter.data = parameter.data.half().float()
    found, sd = _values(link, ensemble(x))
    truth = values.numpy().astype(float)
    widening = _widening(np.abs(truth - found)[validation], sd[validation])
    texts = [table.strings[i] for i in train.tolist()]
    known = fit_novelty(texts, features[train], features[validation])
    errors = np.abs(truth - found)[test]
    trivial = np.abs(truth - np.median(truth[train]))[test]
    ratio = errors / np.maximum(widening * sd[test], 1e-12)
    card: dict[str, Any] = {
        "rows": {"train": len(train), "validation": len(validation), "test": len(test)},
        "mae": float((errors * atoms[test]).mean()),
        "mae_of_median": float((trivial * atoms[test]).mean()),
        "within_1_sd": float((ratio <= 1).mean()),
        "within_1.96_sd": float((ratio <= 1.96).mean()),
        "far": float((known.distances(features[test]) > known.limit).mean()),
        "seed": seed,
    }
    return Head(name, link, ensemble, known, widening, card)


def cross_validated(
    kind: LinkKind,
    features: npt.NDArray[np.float32],
    values: npt.NDArray[np.float64],
    parts: npt.NDArray[np.int64],
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Returns what heads predict of each material that were not trained on its fold, n.

    The fold after the tested one tells when to stop.

    Args:
        kind: How the values are distributed; "debye" for heat capacities at 300 K per mole of
            atoms.
        features: Embeddings, n x d.
        values: True values, n.
        parts: The fold of each material, from 0; see `cloudseed.surrogate.splits.folds`.
        steps: Training steps per head, at most.
        seed: Seed of all randomness.
    """
    import torch

    from cloudseed.surrogate.prediction.ensemble import train_ensemble
    from cloudseed.surrogate.prediction.links import link_for

    # Copies, because a column of a pandas table may not be written to.
    x, y = torch.tensor(features), torch.tensor(np.array(values)).float()
    predicted = np.empty(len(values))
    count = int(parts.max()) + 1
    for part in range(count):
        test, stop = parts == part, parts == (part + 1) % count
        train = torch.from_numpy(np.flatnonzero(~test & ~stop))
        stopping = torch.from_numpy(np.flatnonzero(stop))
        link = link_for(kind, y[train])
        ensemble = train_ensemble(x, y, link, train, stopping, steps=steps, seed=seed)
        predicted[test], _ = _values(link, ensemble(x[torch.from_numpy(test)]))
    return predicted


def _parts(name: str, strings: Sequence[str]) -> tuple[npt.NDArray[np.int64], ...]:
    """Returns the rows to train on, to validate on and to test on."""
    folds = np.array([fold(string) for string in strings])
    masks = folds >= VALIDATION, (folds >= TEST) & (folds < VALIDATION), folds < TEST
    parts = tuple(np.flatnonzero(mask) for mask in masks)
    counts = [len(part) for part in parts]
    if min(counts) < _LEAST:
        raise FitError(
            f"{name} has {counts[0]} materials to train on, {counts[1]} to validate on and"
            f" {counts[2]} to test on; each must be {_LEAST} or more.",
            hint="Give a larger table, or leave the property out.",
        )
    return parts


def _values(link: Link, raw: Tensor) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns values and standard deviations, of heat capacities at 300 K per mole of atoms."""
    import torch

    from cloudseed.surrogate.prediction.debye import heat_capacity, sensitivity

    value, sd = link.summarise(raw)
    if link.kind == "debye":
        theta, room = value.exp(), torch.tensor(300.0)
        value, sd = heat_capacity(theta, room), sensitivity(theta, room).abs() * sd
    return value.double().numpy(), sd.double().numpy()


def _widening(errors: npt.NDArray[Any], sd: npt.NDArray[Any]) -> float:
    """Returns the factor under which 95 % of the errors lie within 1.96 standard deviations."""
    ratios = np.sort(errors / np.maximum(sd, 1e-12))
    return float(np.quantile(ratios, 0.95) / 1.96)
