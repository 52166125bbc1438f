"""What the numbers that a head gives mean: a distribution over values, with its loss.

    linear   value = shift + scale * location, any sign: formation energies
    log      the same of the logarithm: moduli, volumes, refractive indices
    hurdle   zero with some probability, else as `linear` and above zero: band gaps
    debye    location of the Debye temperature; Debye's model gives the heat capacity

Errors are Laplace distributed: calculated properties have long tails, and the likeliest value is
then the one of least absolute error. A head is an ensemble, and its members' disagreement adds to
the spread that each of them gives (Lakshminarayanan, Pritzel & Blundell, NeurIPS 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from cloudseed.surrogate.prediction.debye import bounded_theta, heat_capacity, sensitivity

__all__ = ["Link", "LinkKind", "link_for"]

LinkKind = Literal["linear", "log", "hurdle", "debye"]

#: Bounds of the logarithm of a relative spread; none is exact to 0.1 % of the values' own spread.
_SPREAD = (-7.0, 2.0)
#: What a heat capacity at 300 K is never told better than, J/mol/K per mole of atoms.
_FLOOR = 0.05
_ROOM = 300.0


@dataclass(frozen=True, slots=True)
class Link:
    """One kind of distribution, in the units of one property.

    Attributes:
        kind: Which of the four.
        shift: Location of the training values, or of their logarithms.
        scale: Their mean absolute deviation.
    """

    kind: LinkKind
    shift: float
    scale: float

    @property
    def outputs(self) -> int:
        """Numbers that a head gives for each string."""
        return 3 if self.kind == "hurdle" else 2

    def loss(self, raw: Tensor, values: Tensor) -> Tensor:
        """Returns negative log-likelihoods up to a constant, k x n.

        Args:
            raw: What the members say, k x n x outputs.
            values: True values, n; for "debye" heat capacities at 300 K per mole of atoms.
        """
        spread = raw[..., 1].clamp(*_SPREAD)
        if self.kind == "debye":
            theta = bounded_theta(raw[..., 0])
            room = theta.new_tensor(_ROOM)
            with torch.no_grad():
                slope = sensitivity(theta, room).abs()
            width = torch.exp(spread) * slope + _FLOOR
            return (values - heat_capacity(theta, room)).abs() / width + width.log()
        told = values.log() if self.kind == "log" else values
        error = ((told - self.shift) / self.scale - raw[..., 0]).abs()
        laplace = error * torch.exp(-spread) + spread
        if self.kind != "hurdle":
            return laplace
        above = (values > 0).to(raw).expand(raw.shape[:-1])
        chance = functional.binary_cross_entropy_with_logits(raw[..., 2], above, reduction="none")
        return chance + above * laplace

    def summarise(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Returns value and standard deviation of each string, n and n.

        The value is the median of the distribution. For "debye" both are of the logarithm of the
        Debye temperature.

        Args:
            raw: What the members say, k x n x outputs.
        """
        where = bounded_theta(raw[..., 0]).log() if self.kind == "debye" else raw[..., 0]
        centre = where.mean(dim=0)
        # A Laplace distribution of scale b has the variance 2 b^2.
        variance = 2 * torch.exp(2 * raw[..., 1].clamp(*_SPREAD)).mean(dim=0)
        variance = variance + where.var(dim=0, unbiased=False)
        if self.kind == "debye":
            return centre, variance.sqrt()
        centre, sd = self.shift + self.scale * centre, self.scale * variance.sqrt()
        if self.kind == "linear":
            return centre, sd
        if self.kind == "log":
            return centre.exp(), centre.exp() * sd
        return _hurdle(torch.sigmoid(raw[..., 2]).mean(dim=0), centre.clamp(min=0.0), sd)


def _hurdle(chance: Tensor, centre: Tensor, sd: Tensor) -> tuple[Tensor, Tensor]:
    """Returns median and standard deviation of zero mixed with a positive Laplace variable."""
    # Where more than half is above zero, the median is the quantile 1 - 0.5 / chance of that part.
    quantile = (1 - 0.5 / chance.clamp(min=0.5)).clamp(min=1e-6)
    median = centre + sd / math.sqrt(2) * torch.log(2 * quantile)
    value = torch.where(chance > 0.5, median.clamp(min=0.0), torch.zeros_like(centre))
    variance = chance * (sd**2 + centre**2) - (chance * centre) ** 2
    return value, variance.clamp(min=0.0).sqrt()


def link_for(kind: LinkKind, values: Tensor) -> Link:
    """Returns the link of a kind, in units of training values, n."""
    if kind == "debye":
        return Link(kind, 0.0, 1.0)
    told = values.log() if kind == "log" else values
    told = told[values > 0] if kind == "hurdle" and bool((values > 0).any()) else told
    shift = told.median()
    return Link(kind, float(shift), float((told - shift).abs().mean().clamp(min=1e-6)))
