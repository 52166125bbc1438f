"""What candidates look like to a kernel: blocks of numbers, and their principal components.

`Features` holds the blocks, the embedding first. Of each block the leading components are kept and
all of them are divided by one number. Scaling each to unit variance would raise the noise of the
last components to the level of the first; one scale keeps the block's own geometry, which an
isotropic kernel reads as distance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cloudseed.errors import InputError
from cloudseed.surrogate.kernels import Kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["BLOCKS", "COMPONENTS", "Block", "Features", "Projection", "fit_projection", "project"]

Block = Literal["embedding", "elements", "sites"]
"""What a block of features may be called."""

BLOCKS: tuple[Block, ...] = ("embedding", "elements", "sites")
"""Blocks that candidates may have, and by default do: the embedding of their SCOPE strings,
`cloudseed.surrogate.descriptors.element_descriptors` of these, and
`cloudseed.surrogate.site_roles.site_descriptors` of the crystals, a block for each role."""

#: Components kept; 128 and all 768 of an encoder fit no better and cost more.
COMPONENTS = 64
#: Of what describes the elements 24 fit as well as all.
ELEMENT_COMPONENTS = 24
#: Features beyond it are divided by the largest first, so that their squares are numbers.
_LARGEST = 1e100
_CHUNK = 4_096
#: Rows, evenly taken, that the covariance is computed from in a larger pool: directions that matter
#: for the pool show in so many, and a million cost seconds.
_SPREAD_ROWS = 65_536
#: A component below this share of the first one's variance is rounding noise,
_NEGLIGIBLE = 1e-12
#: and so is any deviation below this share of the mean embedding's length.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Features:
    """Everything that may occur in a campaign, as blocks of numbers.

    Attributes:
        blocks: Name -> matrix, N x d each. The first one decides what is near to what; each has a
            kernel of its own in the models of properties.
        kernel: What every block's kernel is.
        whiten: Whether every component of a block is scaled to the same variance.
    """

    blocks: Mapping[str, npt.NDArray[Any]]
    kernel: Kernel = field(default_factory=Kernel)
    whiten: bool = False

    def __post_init__(self) -> None:
        if len({len(block) for block in self.blocks.values()}) != 1:
            shapes = {name: tuple(block.shape) for name, block in self.blocks.items()}
            raise InputError(
                f"Blocks of features have different numbers of rows: {shapes}.",
                hint="Give every block one row per candidate.",
            )

    @classmethod
    def of(cls, features: Features | npt.NDArray[Any]) -> Features:
        """Returns features as they are, and a matrix as the one block that it is."""
        return features if isinstance(features, Features) else cls({"embedding": features})

    def __len__(self) -> int:
        return len(self.first)

    def same(self, other: Features) -> bool:
        """Tells whether both are read alike and hold the same arrays, not only equal ones."""
        return (self.kernel, self.whiten, [*self.blocks]) == (
            other.kernel,
            other.whiten,
            [*other.blocks],
        ) and all(other.blocks[name] is block for name, block in self.blocks.items())

    @property
    def first(self) -> npt.NDArray[Any]:
        """The first block, N x d."""
        return next(iter(self.blocks.values()))


@dataclass(frozen=True, slots=True)
class Projection:
    """A linear map from embeddings to kernel space.

    Attributes:
        centre: Mean embedding, d.
        components: Principal directions over the global scale, d x p.
        explained: Share of the total variance that the p components carry.
    """

    centre: npt.NDArray[np.float64]
    components: npt.NDArray[np.float64]
    explained: float

    @property
    def dimension(self) -> int:
        """Number of components p."""
        return int(self.components.shape[1])

    def __call__(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Projects embeddings, n x d, to n x p."""
        found = np.asarray(features, dtype=np.float64) @ self.components
        found -= self.centre @ self.components
        return np.asarray(found)


def project(features: Features) -> Mapping[str, Projection]:
    """Finds the map from each block to kernel space; all but the first need rows that differ.

    Raises:
        InputError: If a block is empty or holds NaN or infinity.
    """
    found: dict[str, Projection] = {}
    for name, block in features.blocks.items():
        most = ELEMENT_COMPONENTS if name.startswith(("elements", "sites")) else COMPONENTS
        made = fit_projection(block, most, whiten=features.whiten)
        if not found or made.components.any():
            found[name] = made
    return found


def fit_projection(
    features: npt.NDArray[Any], dimension: int = COMPONENTS, *, whiten: bool = False
) -> Projection:
    """Finds the principal components of a pool.

    The scale is such that the projected variance sums to p / 12, that of the unit cube in p
    dimensions, for which the length-scale prior of `cloudseed.surrogate.gp` was made. The sign of
    each component makes its largest loading positive, so that equal input gives equal output.

    Args:
        features: Embeddings of the pool and of everything measured, n x d; n >= 1.
        dimension: The most components to keep.
        whiten: Whether each component is scaled to the same variance instead of all by one number.

    Returns:
        A map to p <= min(dimension, d, n - 1) components, and to one component that is zero where
        all rows are equal.

    Raises:
        InputError: If the matrix is empty or holds NaN or infinity.
    """
    if features.ndim != 2 or not features.size:
        raise InputError(
            f"Features of shape {features.shape} are not a table of rows and columns.",
            hint="Give one row of numbers per candidate.",
            shape=tuple(features.shape),
        )
    size = _size(features)
    if _LARGEST < size < np.inf:
        found = fit_projection(features / size, dimension, whiten=whiten)
        return Projection(found.centre * size, found.components / size, found.explained)
    centre, covariance = _moments(features)
    variances, directions = np.linalg.eigh(covariance)
    order = np.argsort(variances)[::-1][:dimension]
    floor = max(
        _NEGLIGIBLE * variances[order[0]], float((_ROUNDING * centre) @ (_ROUNDING * centre))
    )
    real = order[variances[order] > floor]
    if not len(real):
        return Projection(centre, np.zeros((len(centre), 1)), 1.0)
    order = real
    chosen = directions[:, order]
    largest = np.abs(chosen).argmax(axis=0)
    chosen = chosen * np.where(chosen[largest, np.arange(len(order))] < 0, -1.0, 1.0)
    total = float(variances[order].sum())
    scale = np.sqrt(12 * variances[order]) if whiten else np.sqrt(total / (len(order) / 12))
    explained = total / float(np.trace(covariance))
    return Projection(centre, chosen / scale, min(explained, 1.0))


def _size(features: npt.NDArray[Any]) -> float:
    """Returns the largest size of a feature, NaN where one is; 0 where the type allows no large."""
    if features.dtype.itemsize <= np.float32().itemsize:
        return 0.0
    return max(float(features.max()), -float(features.min()))


def _moments(
    features: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns the mean, d, and the covariance, d x d, in chunks that bound the memory."""
    count, width = features.shape
    chunks = [slice(start, start + _CHUNK) for start in range(0, count, _CHUNK)]
    centre = np.zeros(width)
    for chunk in chunks:
        centre += features[chunk].sum(axis=0, dtype=np.float64) / count
    if not np.isfinite(centre).all():
        bad = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise InputError(
            f"Row {bad} of the features holds NaN or infinity.",
            hint="Drop the row or encode it again.",
            row=bad,
        )
    covariance = np.zeros((width, width))
    shown = features[:: max(1, count // _SPREAD_ROWS)]
    for start in range(0, len(shown), _CHUNK):
        centred = np.asarray(shown[start : start + _CHUNK], dtype=np.float64) - centre
        covariance += centred.T @ centred / len(shown)
    return centre, covariance
