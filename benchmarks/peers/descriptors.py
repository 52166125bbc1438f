"""Element descriptors per site, as a user of the peers would make them for one prototype.

Beside the statistics of composition that `cloudseed backtest` gives the peers, of the same eight
properties.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cloudseed.surrogate.backtesting.peers import element_values

if TYPE_CHECKING:
    from collections.abc import Sequence


def by_site(sites: Sequence[Sequence[Sequence[str]]]) -> np.ndarray:
    """Returns the mean of every property on each site, N x (sites * 8), by site.

    Args:
        sites: Per crystal, per site the elements on it.
    """
    rows = [
        np.concatenate([element_values(site).mean(axis=0) for site in crystal]) for crystal in sites
    ]
    return np.array(rows)


def spread(elements: Sequence[Sequence[str]]) -> np.ndarray:
    """Returns the standard deviation of every property over the elements of one site, N x 8."""
    return np.array([element_values(site).std(axis=0) for site in elements])
