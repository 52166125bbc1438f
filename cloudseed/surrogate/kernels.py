"""The prior covariance of a property: one stationary kernel per block of features, added up.

A block is a stretch of a point's coordinates with a length scale and a variance of its own, such as
the projected embedding or the description of the elements. A sum lets the data say how much of a
property either block explains. The default is a scaled Matern 5/2 with one length scale a block
(C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, 2006, eq. 4.17) and
the dimension-scaled length-scale prior of C. Hvarfner, E. O. Hellsten and L. Nardi, Vanilla
Bayesian Optimization Performs Great in High Dimensions, ICML 2024, arXiv:2402.02229. The other
kernels are there for ablations.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cloudseed.errors import InputError
from cloudseed.surrogate.distances import distances, matern52

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = [
    "MATERN",
    "Covariance",
    "Family",
    "Kernel",
    "Term",
    "covariance",
    "fitted",
    "prior_modes",
]

Family = Literal["matern", "rbf", "linear"]
"""Matern 5/2, squared exponential, or the scalar product."""

#: Smallest prior variance of standardised values: where nothing is explained, spread is left, so
#: that no candidate is ruled out for certain.
_MIN_SIGNAL = 0.05
_SHORTEST = 2.5e-2


@dataclass(frozen=True, slots=True)
class Kernel:
    """The kind of kernel that every block has.

    Attributes:
        family: Its form.
        ard: Whether every coordinate has a length scale of its own.
    """

    family: Family = "matern"
    ard: bool = False

    def __post_init__(self) -> None:
        if self.family == "linear" and self.ard:
            raise InputError(
                "A linear kernel has no length scales.", hint="Leave out ard, or use matern."
            )

    @property
    def title(self) -> str:
        """Its name in records."""
        form = {"matern": "Matern 5/2", "rbf": "RBF", "linear": "linear"}[self.family]
        if self.family == "linear":
            return f"scale * {form}"
        return f"scale * {form}, {'ARD' if self.ard else 'isotropic'}"


MATERN = Kernel()
"""The default: Matern 5/2 with one length scale a block."""


@dataclass(frozen=True, slots=True)
class Term:
    """The covariance of one block.

    Attributes:
        width: Coordinates of the block.
        lengthscales: In units of the projected features: one, or one a coordinate; none for a
            linear kernel.
        outputscale: Prior variance, of standardised values.
    """

    width: int
    lengthscales: tuple[float, ...]
    outputscale: float


@dataclass(frozen=True, slots=True)
class Covariance:
    """A prior covariance with numbers in place.

    Attributes:
        terms: One per block, in the order of the coordinates.
        kernel: What all of them are.
    """

    terms: tuple[Term, ...]
    kernel: Kernel = MATERN

    @property
    def widths(self) -> tuple[int, ...]:
        """Coordinates of each block."""
        return tuple(term.width for term in self.terms)

    @property
    def blocks(self) -> tuple[tuple[slice, Covariance], ...]:
        """Coordinates of each block, and its covariance alone."""
        return tuple((place, replace(self, terms=(term,))) for term, place in self._places())

    @property
    def finite(self) -> bool:
        """Whether all its numbers are finite."""
        numbers = [n for term in self.terms for n in (*term.lengthscales, term.outputscale)]
        return all(map(math.isfinite, numbers))

    @property
    def variance(self) -> float:
        """Prior variance of a stationary kernel, of standardised values."""
        return sum(term.outputscale for term in self.terms)

    def times(self, factor: float) -> Covariance:
        """Returns the covariance of a process whose square grew by a factor."""
        terms = (replace(t, outputscale=t.outputscale * factor) for t in self.terms)
        return replace(self, terms=tuple(terms))

    def __call__(self, a: Array, b: Array) -> Array:
        """Returns the covariance of the rows of a, n x p, with those of b, m x p: n x m."""
        total: Array | None = None
        for term, place in self._places():
            found = _values(self.kernel.family, term, a[:, place], b[:, place])
            if total is None:
                total = found
            else:
                total += found
        assert total is not None, "there is a block"
        return total

    def diagonal(self, x: Array) -> Array:
        """Returns the prior variance at points, n x p: n."""
        if self.kernel.family != "linear":
            return np.full(len(x), self.variance)
        parts = ((t.outputscale, x[:, place]) for t, place in self._places())
        return np.asarray(sum(scale * (part * part).sum(axis=1) for scale, part in parts))

    def to_json(self) -> dict[str, object]:
        """Returns what a record holds; plain numbers where there is one block and one scale."""
        lengths = [
            t.lengthscales[0] if len(t.lengthscales) == 1 else [*t.lengthscales] for t in self.terms
        ]
        scales = [t.outputscale for t in self.terms]
        one = len(self.terms) == 1
        return {
            "kernel": self.kernel.title if one else f"sum over blocks of {self.kernel.title}",
            "lengthscale": lengths[0] if one else lengths,
            "outputscale": scales[0] if one else scales,
        }

    def _places(self) -> Iterator[tuple[Term, slice]]:
        start = 0
        for term in self.terms:
            yield term, slice(start, start + term.width)
            start += term.width


def _values(family: Family, term: Term, a: Array, b: Array) -> Array:
    """Returns the covariance of one block, n x m."""
    if family == "linear":
        return np.asarray(term.outputscale * (a @ b.T))
    factor = math.sqrt(5) if family == "matern" else 1.0
    if len(term.lengthscales) > 1:
        scales = np.array(term.lengthscales) / factor
        r = distances(a / scales, b / scales)
    else:
        r = distances(a, b)
        r *= factor / term.lengthscales[0]
    found = np.exp(-0.5 * r * r) if family == "rbf" else matern52(r)
    found *= term.outputscale
    return np.asarray(found)


def prior_modes(widths: Sequence[int], kernel: Kernel = MATERN) -> Covariance:
    """Returns the covariance at the modes of the priors, its variance shared by the blocks."""
    lengths = (
        () if kernel.family == "linear" else (_mode(w),) * (w if kernel.ard else 1) for w in widths
    )
    terms = (Term(w, own, 1.0 / len(widths)) for w, own in zip(widths, lengths, strict=True))
    return Covariance(tuple(terms), kernel)


def _mode(width: int) -> float:
    return math.exp(_location(width) - 3)


def _location(width: int) -> float:
    return math.sqrt(2) + math.log(width) / 2


def covariance(found: Covariance) -> Any:
    """Returns a GPyTorch kernel of the same form and numbers, with the priors to fit it under."""
    import torch
    from gpytorch.kernels import AdditiveKernel

    widths = found.widths
    edges = np.cumsum([0, *widths]).tolist()
    places = [None] if len(widths) == 1 else [tuple(range(*ab)) for ab in itertools.pairwise(edges)]
    parts = [
        _scaled(width, place, len(widths), found.kernel)
        for width, place in zip(widths, places, strict=True)
    ]
    module = parts[0] if len(parts) == 1 else AdditiveKernel(*parts)
    module.double()
    for part, term in zip(parts, found.terms, strict=True):
        part.outputscale = term.outputscale
        if term.lengthscales:
            part.base_kernel.lengthscale = torch.tensor([term.lengthscales], dtype=torch.float64)
    return module


def _scaled(width: int, places: tuple[int, ...] | None, blocks: int, kernel: Kernel) -> Any:
    """Returns the kernel of one block of several."""
    from gpytorch.constraints import GreaterThan
    from gpytorch.kernels import LinearKernel, MaternKernel, RBFKernel, ScaleKernel
    from gpytorch.priors import LogNormalPrior

    if kernel.family == "linear":
        base = LinearKernel(active_dims=places)
        base.variance = 1.0
        base.raw_variance.requires_grad_(False)
    else:
        kind, further = (RBFKernel, {}) if kernel.family == "rbf" else (MaternKernel, {"nu": 2.5})
        base = kind(
            active_dims=places,
            ard_num_dims=width if kernel.ard else None,
            lengthscale_prior=LogNormalPrior(_location(width), math.sqrt(3)),
            lengthscale_constraint=GreaterThan(
                _SHORTEST, transform=None, initial_value=_mode(width)
            ),
            **further,
        )
    return ScaleKernel(
        base,
        outputscale_prior=LogNormalPrior(0.0, 1.0),
        outputscale_constraint=GreaterThan(
            _MIN_SIGNAL / blocks, transform=None, initial_value=1.0 / blocks
        ),
    )


def fitted(module: Any, like: Covariance) -> Covariance:
    """Reads the numbers back from a kernel that `covariance` made of `like`."""
    parts = [module] if len(like.terms) == 1 else module.kernels
    terms = tuple(
        Term(
            term.width,
            tuple(part.base_kernel.lengthscale.flatten().tolist()) if term.lengthscales else (),
            part.outputscale.item(),
        )
        for part, term in zip(parts, like.terms, strict=True)
    )
    return Covariance(terms, like.kernel)
