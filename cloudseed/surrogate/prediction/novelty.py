"""Whether a string is like what a head was trained on.

Two questions: whether its elements and space group occurred in training at all, and whether its
embedding lies as near to the training data's as those of materials that were held out. The distance
is Mahalanobis' in the leading principal components (Lee, Lee, Lee & Shin, NeurIPS 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.scope import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["QUANTILE", "Novelty", "fit_novelty"]

COMPONENTS = 32
QUANTILE = 0.99
"""Share of held-out materials that count as known by their distance."""


@dataclass(frozen=True, eq=False)
class Novelty:
    """What is known of a head's training data.

    Attributes:
        centre: Mean embedding, d.
        whiten: Map to components of unit variance, d x p.
        limit: The distance within which a string is known.
        elements: Elements that occurred.
        space_groups: Space groups that occurred.
        dialects: SCOPE dialects of the training strings.
    """

    centre: npt.NDArray[np.float32]
    whiten: npt.NDArray[np.float32]
    limit: float
    elements: frozenset[str]
    space_groups: frozenset[int]
    dialects: tuple[str, ...]

    def distances(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Returns the distance of each embedding, n x d, from the training data's mean, n."""
        projected = (features - self.centre) @ self.whiten
        return np.asarray(np.linalg.norm(projected, axis=1) / np.sqrt(self.whiten.shape[1]))

    def reasons(
        self, strings: Sequence[str], features: npt.NDArray[np.float32]
    ) -> list[tuple[str, ...]]:
        """Returns for each string why it is unlike the training data; nothing where it is not."""
        return [
            tuple(self._reasons(string, float(distance)))
            for string, distance in zip(strings, self.distances(features), strict=True)
        ]

    def _reasons(self, string: str, distance: float) -> list[str]:
        scope = parse(string)
        found = []
        if strange := [e for e in scope.elements if e not in self.elements]:
            found.append(f"no training material holds {' or '.join(strange)}")
        if scope.space_group not in self.space_groups:
            found.append(f"no training material has space group {scope.space_group}")
        if scope.dialect not in self.dialects:
            found.append(f"it was trained on {' and '.join(self.dialects)} strings only")
        if distance > self.limit:
            found.append(
                f"its embedding lies at {distance:.2f}, while {QUANTILE:.0%} of held-out materials"
                f" lie within {self.limit:.2f}"
            )
        return found


def fit_novelty(
    strings: Sequence[str],
    features: npt.NDArray[np.float32],
    held_out: npt.NDArray[np.float32],
) -> Novelty:
    """Learns what a head's training data look like.

    Args:
        strings: Training strings, n.
        features: Their embeddings, n x d.
        held_out: Embeddings of materials of the same kind that were not trained on, m x d.
    """
    centre = features.mean(axis=0)
    covariance = np.cov((features - centre).astype(np.float64).T)
    variances, directions = np.linalg.eigh(covariance)
    order = np.argsort(variances)[::-1][: min(COMPONENTS, len(strings) - 1)]
    floor = 1e-8 * variances[order[0]] + 1e-12
    order = order[variances[order] >= floor] if variances[order[0]] > floor else order[:1]
    whiten = directions[:, order] / np.sqrt(variances[order] + floor)
    scopes = [parse(string) for string in strings]
    known = Novelty(
        centre=centre.astype(np.float32),
        whiten=whiten.astype(np.float32),
        limit=np.inf,
        elements=frozenset(e for scope in scopes for e in scope.elements),
        space_groups=frozenset(scope.space_group for scope in scopes),
        dialects=tuple(sorted({scope.dialect for scope in scopes})),
    )
    return replace(known, limit=float(np.quantile(known.distances(held_out), QUANTILE)))
