"""Parents from the Materials Project, by its REST interface.

Jain et al., APL Materials 1, 011002 (2013), doi:10.1063/1.4812323. Spoken directly because the
client `mp-api` needs an older python-dateutil than this program's other parts
(docs/decisions/0010).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from cloudseed.errors import InputError, StructureError, UsageError
from cloudseed.proposers.sources._http import bounded_session
from cloudseed.proposers.sources.entries import Entry, sites_task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ENDPOINT", "read_materials_project"]

ENDPOINT = "https://api.materialsproject.org"
"""Where it is asked, unless MP_API_ENDPOINT says otherwise."""

FIELDS = "material_id,formula_pretty,structure,energy_above_hull,formation_energy_per_atom"
PAGE = 200
_IDS = re.compile(r"(mp|mvc)-[A-Za-z0-9-]+(,(mp|mvc)-[A-Za-z0-9-]+)*")
_SYSTEM = re.compile(r"[A-Z][a-z]?(-([A-Z][a-z]?|\*))+|\*(-([A-Z][a-z]?|\*))+")
_FORMULA = re.compile(r"([A-Z][a-z]?\d*)+")
_OPTIONS = ("hull", "limit")


def read_materials_project(question: str) -> Iterator[Entry]:
    """Yields entries of the Materials Project.

    Args:
        question: Ids ("mp-149,mp-5229"), a formula ("SrTiO3") or a chemical system ("Sr-Ti-O"),
            with options after "?": "hull" is the largest energy above the hull in eV/atom, "limit"
            the largest number of entries (1000); for instance "Sr-Ti-O?hull=0.05&limit=50".

    Raises:
        UsageError: If the question cannot be read, or there is no key.
        InputError: If the database cannot be reached, refuses, or has no such entry.
    """
    query, limit = _query(question)
    key = os.environ.get("MP_API_KEY") or os.environ.get("PMG_MAPI_KEY")
    if not key:
        raise UsageError(
            "The Materials Project wants a key.",
            hint="Get one at https://materialsproject.org/api and set MP_API_KEY.",
        )
    base = os.environ.get("MP_API_ENDPOINT", ENDPOINT).rstrip("/")
    found = 0
    with bounded_session()() as session:
        session.headers.update({"X-API-KEY": key, "Accept": "application/json"})
        while found < limit:
            page = {"_skip": found, "_limit": min(PAGE, limit - found), "_fields": FIELDS}
            documents, total = _page(session, f"{base}/materials/summary/", query | page)
            for document in documents:
                yield _entry(document)
            found += len(documents)
            if not documents or found >= total:
                break
    if not found:
        raise InputError(
            f"The Materials Project has nothing for {question!r}.", hint="Check the question."
        )


def _query(question: str) -> tuple[dict[str, Any], int]:
    what, _, options = question.partition("?")
    kinds = {"material_ids": _IDS, "chemsys": _SYSTEM, "formula": _FORMULA}
    kind = next((k for k, pattern in kinds.items() if pattern.fullmatch(what)), None)
    if kind is None:
        raise UsageError(
            f"{what!r} is nothing that the Materials Project can be asked for.",
            hint="Give ids such as mp-149, a formula such as SrTiO3 or a system such as Sr-Ti-O.",
        )
    query: dict[str, Any] = {kind: what, "deprecated": "false"}
    limit = 1000
    for option in filter(None, options.split("&")):
        name, _, value = option.partition("=")
        try:
            if name == "hull":
                query["energy_above_hull_max"] = float(value)
            elif name == "limit":
                limit = int(value)
            else:
                raise ValueError(name)
        except ValueError as error:
            raise UsageError(
                f"{option!r} is no option of a question to the Materials Project.",
                hint=f"Options are {', '.join(_OPTIONS)}; for instance Sr-Ti-O?hull=0.05&limit=50.",
            ) from error
    return query, limit


def _page(session: Any, url: str, query: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
    try:
        answer = session.get(url, params=query).json()
        return list(answer["data"]), int(answer["meta"]["total_doc"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{url} does not answer as the Materials Project does.",
            hint="Is MP_API_ENDPOINT right? Leave it unset for the public database.",
        ) from error


def _entry(document: Mapping[str, Any]) -> Entry:
    name = str(document.get("material_id", "unnamed"))
    origin = f"Materials Project {name}"
    values = {
        field: float(document[field])
        for field in ("energy_above_hull", "formation_energy_per_atom")
        if isinstance(document.get(field), int | float)
    }
    try:
        structure = document["structure"]
        species = [
            {_symbol(part["element"]): part["occu"] for part in site["species"]}
            for site in structure["sites"]
        ]
        coords = [site["abc"] for site in structure["sites"]]
        task = sites_task(origin, structure["lattice"]["matrix"], species, coords)
    except (KeyError, TypeError, ValueError):
        return Entry(name, origin, _broken(origin), values)
    return Entry(name, origin, task, values)


def _symbol(species: object) -> str:
    """Returns "Sr" for "Sr2+"."""
    match = re.match(r"[A-Z][a-z]?", str(species))
    return match[0] if match else str(species)


def _broken(origin: str) -> StructureError:
    return StructureError(
        f"{origin}: the structure is missing or broken.", hint="Leave it out.", source=origin
    )
