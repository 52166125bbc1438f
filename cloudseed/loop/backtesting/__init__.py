"""Back-tests of a campaign file on a table of known values: reading, replaying, reporting."""

from cloudseed.loop.backtesting.figures import draw
from cloudseed.loop.backtesting.report import Backtest, MethodFigures
from cloudseed.loop.backtesting.running import Job, backtest, replays
from cloudseed.loop.backtesting.settings import BacktestSettings, parse_share

__all__ = [
    "Backtest",
    "BacktestSettings",
    "Job",
    "MethodFigures",
    "backtest",
    "draw",
    "parse_share",
    "replays",
]
