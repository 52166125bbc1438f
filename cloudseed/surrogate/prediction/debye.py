"""Debye's model: heat capacity and energy of a crystal at any temperature from one number.

The encoder says how stiff the lattice is, as a Debye temperature; physics says the rest (Debye,
Ann. Phys. 344, 789 (1912), DOI 10.1002/andp.19123441404). The published CLOUD-Debye takes
exp(theta / T) and overflows in single precision near theta / T = 88; here every exponent is
negative and the range of integration ends where the integrand does, so that any ratio is safe, with
its gradient.

With y = theta / T, both integrals are 3 * integral of s^2 f(y s) over s from 0 to 1, where f is
1 at 0 and decays exponentially.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "GAS_CONSTANT",
    "THETA",
    "DebyeHead",
    "bounded_theta",
    "energy",
    "heat_capacity",
    "sensitivity",
]

GAS_CONSTANT = 8.31446261815324
"""J/mol/K, exact in the SI of 2019."""

THETA = (20.0, 4000.0)
"""Bounds of a predicted Debye temperature in K; caesium has about 40, diamond about 2,230."""

_NODES = 64
#: Beyond this the integrands are below 1e-13 of what they add up to.
_END = 40.0
#: Below this the series is more exact than the closed form in single precision.
_SMALL = 0.3


def heat_capacity(theta: Tensor, temperature: Tensor) -> Tensor:
    """Returns the heat capacity at constant volume per mole of atoms, J/mol/K.

    Args:
        theta: Debye temperatures in K, at least 0.
        temperature: Temperatures in K, above 0; the two shapes are broadcast, so that
            `theta[:, None]` with k temperatures gives n x k.
    """
    return 3 * GAS_CONSTANT * _mean(_einstein, theta, temperature)


def energy(theta: Tensor, temperature: Tensor) -> Tensor:
    """Returns the vibrational energy per mole of atoms, J/mol, zero-point energy included.

    Args:
        theta: Debye temperatures in K, at least 0.
        temperature: Temperatures in K, above 0; the two shapes are broadcast.
    """
    thermal = 3 * GAS_CONSTANT * temperature * _mean(_bose, theta, temperature)
    return 9 / 8 * GAS_CONSTANT * theta + thermal


def sensitivity(theta: Tensor, temperature: Tensor) -> Tensor:
    """Returns how much the heat capacity changes with ln(theta), J/mol/K per mole of atoms.

    It is never positive, and zero in both limits, where theta no longer matters.

    Args:
        theta: Debye temperatures in K, at least 0.
        temperature: Temperatures in K, above 0; the two shapes are broadcast.
    """
    at_the_end = 9 * GAS_CONSTANT * _einstein(theta / temperature)
    return at_the_end - 3 * heat_capacity(theta, temperature)


def bounded_theta(logits: Tensor) -> Tensor:
    """Maps any number to a Debye temperature within `THETA`, evenly on a logarithmic scale."""
    low, high = (float(np.log(bound)) for bound in THETA)
    return torch.exp(low + (high - low) * torch.sigmoid(logits))


class DebyeHead(nn.Module):
    """From features to a Debye temperature to the heat capacity of a cell.

    Args:
        width: Length d of a feature vector.
        start: Debye temperature in K that an untrained head gives on average.
    """

    def __init__(self, width: int, start: float = 400.0) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        low, high = np.log(THETA)
        share = (np.log(start) - low) / (high - low)
        nn.init.constant_(self.linear.bias, float(np.log(share / (1 - share))))

    def theta(self, features: Tensor) -> Tensor:
        """Returns Debye temperatures in K, n, of features, n x d."""
        return bounded_theta(self.linear(features).squeeze(-1))

    def forward(self, features: Tensor, temperatures: Tensor, atoms: Tensor) -> Tensor:
        """Returns heat capacities at constant volume, n x k, in J/mol/K of cells.

        Args:
            features: n x d.
            temperatures: Temperatures in K, k.
            atoms: Atoms in the cell, n.
        """
        per_atom = heat_capacity(self.theta(features)[:, None], temperatures)
        return atoms[:, None] * per_atom


def _mean(function: Callable[[Tensor], Tensor], theta: Tensor, temperature: Tensor) -> Tensor:
    """Returns 3 * integral of s^2 f(y s) over s from 0 to 1, by Gauss-Legendre quadrature.

    The nodes are spread over the part of [0, 1] where f is not yet zero.
    """
    ratio = theta / temperature
    nodes, weights = _quadrature()
    nodes, weights = nodes.to(ratio), weights.to(ratio)
    # Beyond the end the integral is constant and all of the dependence is in the cube.
    inside = ratio < _END
    end = torch.where(inside, ratio, _END)
    share = torch.where(inside, 1.0, _END / ratio.clamp(min=_END))
    return share**3 * (function(end.unsqueeze(-1) * nodes) * weights).sum(dim=-1)


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes = (nodes + 1) / 2
    return torch.from_numpy(nodes), torch.from_numpy(1.5 * weights * nodes**2)


def _einstein(x: Tensor) -> Tensor:
    """Returns x^2 e^x / (e^x - 1)^2, which is 1 at 0."""
    square = x.clamp(max=_SMALL) ** 2
    series = 1 - square / 12 * (1 - square / 20 * (1 - square * (5 / 126) * (1 - square * 7 / 200)))
    large = x.clamp(min=_SMALL)
    closed = (large / torch.expm1(-large)) ** 2 * torch.exp(-large)
    return torch.where(x < _SMALL, series, closed)


def _bose(x: Tensor) -> Tensor:
    """Returns x / (e^x - 1), which is 1 at 0."""
    small = x.clamp(max=_SMALL)
    series = 1 - small / 2 + small**2 / 12 * (1 - small**2 / 60 * (1 - small**2 / 42))
    large = x.clamp(min=_SMALL)
    closed = -large * torch.exp(-large) / torch.expm1(-large)
    return torch.where(x < _SMALL, series, closed)
