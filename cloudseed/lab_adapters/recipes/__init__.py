"""Recipes for solid-state synthesis: from a target and a shelf to routes to weigh out."""

from cloudseed.lab_adapters.recipes.diffraction import Peak, expected_pattern
from cloudseed.lab_adapters.recipes.printing import Printed, printed
from cloudseed.lab_adapters.recipes.routes import (
    Heating,
    Rank,
    Route,
    TooManyRoutesError,
    Weighed,
    check_searchable,
    routes,
)
from cloudseed.lab_adapters.recipes.shelf import Shelf, Substance, described_shelf, read_shelf
from cloudseed.lab_adapters.recipes.stock import Stock, less, weighed

__all__ = [
    "Heating",
    "Peak",
    "Printed",
    "Rank",
    "Route",
    "Shelf",
    "Stock",
    "Substance",
    "TooManyRoutesError",
    "Weighed",
    "check_searchable",
    "described_shelf",
    "expected_pattern",
    "less",
    "printed",
    "read_shelf",
    "routes",
    "weighed",
]
