"""Back-tests: campaigns replayed on data that are known already; `protocols.py` tells this part.

Truth       what every candidate measures, and which are hits
replay      a searcher spends a budget: a Run
peers       other optimisers as searchers
curves_of, accelerations, foresight, stopping      the figures of many runs
chance_of   what random picks find, exactly
"""

from cloudseed.surrogate.backtesting.acceleration import FRACTIONS, Acceleration, accelerations
from cloudseed.surrogate.backtesting.chance import Chance, chance_of, experiments_of_random
from cloudseed.surrogate.backtesting.curves import Curve, Curves, curves_of
from cloudseed.surrogate.backtesting.foresight import Foresight, foresight
from cloudseed.surrogate.backtesting.own import source_of
from cloudseed.surrogate.backtesting.peers import PEERS, composition_features, unit
from cloudseed.surrogate.backtesting.protocols import (
    Forecast,
    Rules,
    Run,
    Searcher,
    SearcherFactory,
)
from cloudseed.surrogate.backtesting.replay import StartKind, replay, start_rows
from cloudseed.surrogate.backtesting.searchers import (
    SEARCHERS,
    CloudSearcher,
    Conduct,
    GreedySearcher,
    RandomSearcher,
    load_searcher,
)
from cloudseed.surrogate.backtesting.stopping import Stop, Stopping, StopRule, stopping
from cloudseed.surrogate.backtesting.truth import HIT_SHARE, Truth

__all__ = [
    "FRACTIONS",
    "HIT_SHARE",
    "PEERS",
    "SEARCHERS",
    "Acceleration",
    "Chance",
    "CloudSearcher",
    "Conduct",
    "Curve",
    "Curves",
    "Forecast",
    "Foresight",
    "GreedySearcher",
    "RandomSearcher",
    "Rules",
    "Run",
    "Searcher",
    "SearcherFactory",
    "StartKind",
    "Stop",
    "StopRule",
    "Stopping",
    "Truth",
    "accelerations",
    "chance_of",
    "composition_features",
    "curves_of",
    "experiments_of_random",
    "foresight",
    "load_searcher",
    "replay",
    "source_of",
    "start_rows",
    "stopping",
    "unit",
]
