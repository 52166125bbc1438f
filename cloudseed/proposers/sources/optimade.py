"""Parents from any OPTIMADE database, by the client `optimade`.

Andersen et al., Sci. Data 8, 217 (2021), doi:10.1038/s41597-021-00974-z; Evans et al., Digital
Discovery 3, 1509 (2024), doi:10.1039/D4DD00039K.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import InputError, MissingDependencyError, StructureError, UsageError
from cloudseed.proposers.sources._http import bounded_session
from cloudseed.proposers.sources.entries import Entry, sites_task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["read_optimade"]

FIELDS = ("lattice_vectors", "cartesian_site_positions", "species", "species_at_sites")
DEFAULT_LIMIT = 1000


def read_optimade(question: str) -> Iterator[Entry]:
    """Yields structures of an OPTIMADE database.

    Args:
        question: A provider's id ("cod", "mp", "odbx") or the base address of a database, then "?"
            and a filter, for instance 'cod?elements HAS ALL "Sr","Ti","O" AND nelements=3'; a last
            "&limit=50" bounds the number of structures (1000).

    Raises:
        MissingDependencyError: If `optimade` is not installed.
        UsageError: If the question cannot be read.
        InputError: If the database cannot be reached, refuses, or has no such structure.
    """
    where, query, limit = _parts(question)
    found = 0
    for base, answer in _answers(where, query, limit).items():
        if answer["errors"]:
            raise InputError(
                f"{base} does not answer: {answer['errors'][0]}",
                hint="Check the filter, or try another provider.",
            )
        for document in answer["data"][: limit - found]:
            found += 1
            yield _entry(base, document)
    if not found:
        raise InputError(f"{where} has no structure for the filter {query!r}.", hint="Widen it.")


def _parts(question: str) -> tuple[str, str, int]:
    where, _, query = question.partition("?")
    limit = DEFAULT_LIMIT
    ending = re.search(r"&limit=(\d+)$", query)
    if ending:
        query, limit = query[: ending.start()], int(ending[1])
    if not where or not query or limit < 1:
        raise UsageError(
            f"{question!r} is no question to an OPTIMADE database.",
            hint='For instance: optimade:cod?elements HAS ALL "Sr","Ti" AND nelements=3&limit=50',
        )
    return where, query, limit


def _answers(where: str, query: str, limit: int) -> Mapping[str, Any]:
    """Asks, and returns base address -> answer."""
    try:
        from optimade.client import OptimadeClient
        from optimade.exceptions import BadRequest
    except ImportError as error:
        raise MissingDependencyError(
            "OPTIMADE databases need the package optimade.",
            hint="python -m pip install 'cloudseed[optimade]'",
        ) from error
    places = {"base_urls": [where]} if "://" in where else {"include_providers": [where]}
    try:
        client = OptimadeClient(
            **places,
            max_results_per_provider=limit,
            use_async=False,
            silent=True,
            http_client=bounded_session(),
        )
        answers = client.get(query, response_fields=list(FIELDS))["structures"][query]
    except SystemExit as error:
        raise InputError(
            f"There is no OPTIMADE provider {where!r} within reach.",
            hint="Known ids stand at https://providers.optimade.org; or give a base address.",
        ) from error
    except (BadRequest, RuntimeError) as error:
        raise UsageError(
            f"The filter {query!r} cannot be used.",
            hint=next(iter(str(error).splitlines()), "Write it as optimade.org specifies."),
        ) from error
    client.all_results.clear()  # the class keeps every answer for ever
    return dict(answers)


def _entry(base: str, document: Mapping[str, Any]) -> Entry:
    name = str(document.get("id", "unnamed"))
    origin = f"{base}, {name}"
    try:
        facts = document["attributes"]
        lattice = np.array(facts["lattice_vectors"], dtype=float).reshape(3, 3)
        positions = np.array(facts["cartesian_site_positions"], dtype=float).reshape(-1, 3)
        coords = np.linalg.solve(lattice.T, positions.T).T
        kinds = {kind["name"]: _occupancies(kind) for kind in facts["species"]}
        species = [kinds[site] for site in facts["species_at_sites"]]
        task = sites_task(origin, lattice.tolist(), species, coords.tolist())
    except (KeyError, TypeError, ValueError, np.linalg.LinAlgError):
        error = StructureError(
            f"{origin}: the structure is missing, not periodic or broken.",
            hint="Leave it out.",
            source=origin,
        )
        return Entry(name, origin, error)
    return Entry(name, origin, task)


def _occupancies(kind: Mapping[str, Any]) -> dict[str, float]:
    """Returns element -> occupancy; what is vacant is left out."""
    shares: dict[str, float] = {}
    for symbol, share in zip(kind["chemical_symbols"], kind["concentration"], strict=True):
        if symbol != "vacancy":
            shares[symbol] = shares.get(symbol, 0.0) + float(share)
    return shares
