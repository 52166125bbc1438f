"""What a decision records so that it can be made again, and the difference told."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np

from cloudseed import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudseed.loop.pool import Pool
    from cloudseed.surrogate import Choice, Observations, Scores

__all__ = ["Arguments", "replay_record", "scores_sha", "sigma_sha", "training_sha", "versions"]

_DECISIVE = ("botorch", "gpytorch", "linear_operator", "numpy", "scipy", "torch")


class Arguments(TypedDict):
    """What `choose` was asked, besides campaign, pool and situation.

    Attributes:
        batch: How many to choose.
        asked: Experiments planned before.
        exploration: Share of the batch that covers the pool instead.
        widths: Property -> what its standard deviations are multiplied by.
        price: What a cheap lab's value costs over a dear one's; None where it cannot be asked.
            Missing where all labs measure alike.
    """

    batch: int
    asked: int
    exploration: float
    widths: Mapping[str, float]
    price: NotRequired[float | None]


def replay_record(
    pool: Pool, known: Observations, choice: Choice, arguments: Arguments
) -> dict[str, Any]:
    """Returns what a decision's `model["replay"]` holds; JSON values.

    Args:
        pool: The candidates.
        known: What was measured, and what could not be.
        choice: What was chosen.
        arguments: What was asked for.
    """
    return {
        "arguments": {**arguments, "widths": dict(arguments["widths"])},
        "pool": len(pool.rows),
        "training_sha": training_sha(pool, known),
        "sigma_sha": sigma_sha(known),
        "scores_sha": None if choice.scores is None else scores_sha(choice.scores),
        "versions": dict(versions()),
    }


def training_sha(pool: Pool, known: Observations) -> str:
    """Returns the SHA-256 of what a model is fitted to: keys, values, and what cannot be made."""
    values = [
        [None if np.isnan(value) else value for value in line] for line in known.values.tolist()
    ]
    text = json.dumps(
        {
            "properties": list(known.properties),
            "keys": [pool.rows[row].key for row in known.rows.tolist()],
            "values": values,
            "infeasible": [pool.rows[row].key for row in known.infeasible.tolist()],
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).hexdigest()


def sigma_sha(known: Observations) -> str | None:
    """Returns the SHA-256 of the known uncertainties, bit by bit; None where there are none."""
    if known.sigma is None:
        return None
    sigma = np.array(known.sigma, dtype="<f8", order="C")
    sigma[np.isnan(sigma)] = np.nan
    return hashlib.sha256(sigma.tobytes()).hexdigest()


def scores_sha(scores: Scores) -> str:
    """Returns the SHA-256 of every score, bit by bit, in order of rank."""
    digest = hashlib.sha256(np.ascontiguousarray(scores.rows, dtype="<i8").tobytes())
    for part in (scores.acquisition, scores.feasible, scores.mean, scores.sd):
        digest.update(np.ascontiguousarray(part, dtype="<f8").tobytes())
    return digest.hexdigest()


@cache
def versions() -> dict[str, str]:
    """Returns the versions that a choice depends on."""
    found = {"cloudseed": __version__, "python": platform.python_version()}
    for name in _DECISIVE:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return {**found, "machine": platform.machine()}
