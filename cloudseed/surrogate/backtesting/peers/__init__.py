"""Other optimisers as methods of back-tests: BayBE, Ax and an agent after CAMD.

descriptors     what they see of a candidate: its composition
goal            what they are told of a measurement
baybe, ax, camd     a peer each, with the settings its makers recommend; loaded when named
searcher        a peer as a `Searcher`
"""

from cloudseed.surrogate.backtesting.peers.descriptors import (
    composition_features,
    element_values,
    magpie,
    unit,
)
from cloudseed.surrogate.backtesting.peers.goal import PeerGoal
from cloudseed.surrogate.backtesting.peers.searcher import PEERS, PeerSearcher

__all__ = [
    "PEERS",
    "PeerGoal",
    "PeerSearcher",
    "composition_features",
    "element_values",
    "magpie",
    "unit",
]
