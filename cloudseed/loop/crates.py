"""A campaign as an RO-Crate 1.1: files, and who made what from what, as JSON-LD.

Every decision and every experiment that ended is a `CreateAction` of schema.org, as the Process Run
Crate profile asks: an instrument (cloudseed, or the lab) made results (experiments; values and a
structure) from objects (what was known; what was proposed). See
https://www.researchobject.org/ro-crate/specification/1.1/ and
https://w3id.org/ro/wfrun/process/0.5.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloudseed import __version__
from cloudseed.db import ExperimentState
from cloudseed.lab_adapters import recipe_hash
from cloudseed.loop.decided import show_decision
from cloudseed.loop.exporting import cif_name, final_cell, records_of, table_of
from cloudseed.loop.results import ranked
from cloudseed.loop.safety.approvals import made_on
from cloudseed.loop.told import told_all
from cloudseed.loop.workspace import write_text
from cloudseed.surrogate import describe
from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cloudseed.db import CampaignRow, DecisionRow, Ledger
    from cloudseed.loop.results import Result
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.loop.told import Told

    Node = dict[str, Any]

__all__ = ["write_crate"]

_CONTEXT = "https://w3id.org/ro/crate/1.1/context"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".cif": "chemical/x-cif",
}
_ABOUT = {
    "campaign.json": "The campaign: what was sought, where, and from which parents",
    "experiments.csv": "Every experiment: what was predicted and what was measured",
    "experiments.jsonl": "Every experiment with structure and provenance",
    "decisions.jsonl": "Every decision: what it was made on, what it chose and nearly chose",
    "events.jsonl": "Everything that happened, oldest first",
}


def write_crate(
    ledger: Ledger,
    campaign: CampaignRow,
    spec: CampaignSpec,
    results: Sequence[Result],
    *,
    folder: Path,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> None:
    """Writes a crate into a folder.

    Args:
        ledger: The record.
        campaign: The campaign.
        spec: Its spec.
        results: Every experiment.
        folder: An empty folder.
        progress: Told the task, how much is done and how much there is.
    """
    decisions = ledger.decisions(campaign.id)
    write_text(folder / "campaign.json", _json(campaign.config))
    told = list(told_all(ledger, campaign, results))
    write_text(folder / "experiments.csv", table_of(results, spec.problem.columns, told))
    _write_lines(folder / "experiments.jsonl", records_of(ledger, results, told))
    _write_lines(
        folder / "decisions.jsonl",
        (show_decision(ledger, campaign.id, d).to_json() for d in decisions),
    )
    _write_lines(
        folder / "events.jsonl",
        (
            {"at": e.at.isoformat(), "kind": e.kind, "experiment": e.experiment_id, **e.data}
            for e in ledger.events(campaign.id)
        ),
    )
    structures: dict[int, str] = {}
    best_first = ranked(results, spec.problem, spec.sources)
    for place, result in enumerate(best_first, 1):
        name = f"structures/{cif_name(place, result)}"
        write_text(folder / name, final_cell(ledger, result).to_cif())
        structures[result.experiment.id] = name
        progress("writing structures", place, len(best_first))
    asked: dict[int, list[int]] = {}
    for result in results:
        asked.setdefault(result.experiment.decision_id, []).append(result.experiment.id)
    files = [*_ABOUT, *structures.values()]
    graph = [
        *_root(campaign, spec, decisions, results, files),
        *(_file(folder, name, _ABOUT.get(name, "")) for name in files),
        *_instruments(campaign, results),
        *_devices(told),
        *(_decision(d, asked.get(d.id, [])) for d in decisions),
    ]
    for result, known in zip(results, told, strict=True):
        graph.extend(_experiment(result, known, structures.get(result.experiment.id)))
    crate = {"@context": _CONTEXT, "@graph": graph}
    write_text(folder / "ro-crate-metadata.json", _json(crate))


def _root(
    campaign: CampaignRow,
    spec: CampaignSpec,
    decisions: Sequence[DecisionRow],
    results: Sequence[Result],
    files: Sequence[str],
) -> Iterator[Node]:
    yield {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    actions = [f"#decision-{d.step + 1}" for d in decisions]
    actions += [f"#experiment-{r.experiment.id}" for r in results if _acted(r)]
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": campaign.name,
        "description": spec.description or f"A campaign that sought {describe(spec.problem)}.",
        "datePublished": datetime.now(UTC).isoformat(timespec="seconds"),
        "dateCreated": campaign.created_at.isoformat(timespec="seconds"),
        "license": "The owner of this campaign has not named a license.",
        "identifier": campaign.config_sha,
        "conformsTo": {"@id": _PROFILE},
        "hasPart": [_to(_path(name)) for name in files],
        "mentions": [_to(action) for action in actions],
    }
    yield {
        "@id": _PROFILE,
        "@type": "CreativeWork",
        "name": "Process Run Crate",
        "version": "0.5",
    }


def _file(folder: Path, name: str, about: str) -> Node:
    data = (folder / name).read_bytes()
    return {
        "@id": _path(name),
        "@type": "File",
        "name": about or name.rpartition("/")[2],
        "encodingFormat": _TYPES["." + name.rpartition(".")[2]],
        "contentSize": str(len(data)),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _instruments(campaign: CampaignRow, results: Sequence[Result]) -> Iterator[Node]:
    yield {
        "@id": "#cloudseed",
        "@type": "SoftwareApplication",
        "name": "cloudseed",
        "softwareVersion": str(campaign.config.get("cloudseed", __version__)),
    }
    known = {lab["name"]: lab["simulated"] for lab in made_on(campaign)}
    for lab in dict.fromkeys(r.experiment.lab for r in results):
        simulated = known.get(lab, False)
        yield {
            "@id": _lab(lab),
            "@type": "SoftwareApplication" if simulated else "Thing",
            "name": lab,
            "description": "A simulated laboratory" if simulated else "A laboratory",
        }


def _devices(told: Sequence[Told]) -> Iterator[Node]:
    """Yields each instrument that a lab named, by firmware."""
    for name, firmware in dict.fromkeys((t.instrument, t.firmware) for t in told if t.instrument):
        yield {
            "@id": _device(str(name), firmware),
            "@type": "IndividualProduct",
            "name": str(name),
            **({} if firmware is None else {"description": f"With firmware {firmware}"}),
        }


def _decision(decision: DecisionRow, asked: Sequence[int]) -> Node:
    return {
        "@id": f"#decision-{decision.step + 1}",
        "@type": "CreateAction",
        "name": f"Decision {decision.step + 1}, by {decision.method}",
        "description": (
            f"Made on {len(decision.observed)} measurements with {len(decision.pending)}"
            f" experiments pending; seed {decision.seed}, pool {decision.pool_sha}."
        ),
        "instrument": _to("#cloudseed"),
        "endTime": decision.created_at.isoformat(),
        "object": _to("experiments.jsonl"),
        "result": [_to(f"#candidate-of-{number}") for number in asked],
        "actionStatus": _to("http://schema.org/CompletedActionStatus"),
    }


def _acted(result: Result) -> bool:
    state = result.experiment.state
    return state.terminal and state is not ExperimentState.CANCELLED


def _experiment(result: Result, told: Told, structure: str | None) -> Iterator[Node]:
    """Yields what was proposed, what was done, and what came of it."""
    ran = result.experiment
    candidate = f"#candidate-of-{ran.id}"
    yield {
        "@id": candidate,
        "@type": "Thing",
        "name": result.candidate.formula,
        "identifier": result.candidate.key,
        "description": f"Proposed in space group {result.space_group}; chosen in round"
        f" {result.step + 1}.",
    }
    if not _acted(result):
        return
    recipes = list(_recipes(ran.id, told))
    values = [f"#experiment-{ran.id}-{name}" for name in result.measured]
    done = ran.state is ExperimentState.MEASURED
    made = [_path(structure)] if structure else []
    device = [_device(told.instrument, told.firmware)] if told.instrument else []
    action = {
        "@id": f"#experiment-{ran.id}",
        "@type": "CreateAction",
        "name": f"Experiment {ran.id} on {result.candidate.formula}: {ran.state.value}",
        "instrument": [_to(node) for node in (_lab(ran.lab), *device)],
        "object": [_to(node) for node in (candidate, *(recipe["@id"] for recipe in recipes))],
        "result": [_to(name) for name in (*made, *values)],
        "startTime": told.started or ran.created_at.isoformat(),
        "actionStatus": _to(f"http://schema.org/{'Completed' if done else 'Failed'}ActionStatus"),
    }
    if told.ended or ran.finished_at is not None:
        action["endTime"] = told.ended or ran.finished_at.isoformat()  # type: ignore[union-attr]
    if ran.reason:
        action["error"] = ran.reason
    if facts := "; ".join(_facts(told)):
        action["description"] = facts
    yield action
    yield from recipes
    for name in result.measured:
        yield from _value(result, told, name)


def _recipes(experiment: int, told: Told) -> Iterator[Node]:
    """Yields the recipe that was asked for and the one that was executed."""
    for which, recipe in {"asked for": told.asked, "executed": told.recipe}.items():
        if recipe is not None:
            yield {
                "@id": f"#experiment-{experiment}-recipe-{which.replace(' ', '-')}",
                "@type": "HowTo",
                "name": f"Recipe as {which}",
                "text": json.dumps(recipe, sort_keys=True),
                "sha256": recipe_hash(recipe),
            }


def _facts(told: Told) -> Iterator[str]:
    """Yields what a lab told that schema.org has no word for."""
    if told.simulated is not None:
        yield "simulated" if told.simulated else "measured, not simulated"
    if told.calibration_age is not None:
        yield f"calibrated {told.calibration_age:g} s before"
    if told.duration is not None:
        yield f"took {told.duration:g} s"
    if told.cost is not None:
        yield f"cost {told.cost:g}"
    if told.failures:
        yield f"failures: {', '.join(told.failures)}"


def _value(result: Result, told: Told, name: str) -> Iterator[Node]:
    """Yields a measured value, and where its raw data is."""
    (value, sigma), reading = result.measured[name], told.reading(name)
    facts = [] if sigma is None else [f"standard uncertainty {sigma:g}"]
    if sigma is not None and reading.sigma_method:
        facts[0] += f" by {reading.sigma_method}"
    if reading.n is not None:
        facts.append(f"{reading.n} readings")
    if reading.quality is not None:
        facts.append(f"quality {reading.quality}")
    node: Node = {
        "@id": f"#experiment-{result.experiment.id}-{name}",
        "@type": "PropertyValue",
        "name": name,
        "value": value,
        "unitText": unit_of(name) or "",
    }
    if facts:
        node["description"] = "; ".join(facts)
    if reading.method:
        node["measurementTechnique"] = reading.method
    if reading.raw is None:
        yield node
        return
    raw = f"{node['@id']}-raw"
    yield node | {"isBasedOn": _to(raw)}
    yield {
        "@id": raw,
        "@type": "MediaObject",
        "name": f"The instrument's own data of {name}",
        "contentUrl": reading.raw,
        "sha256": reading.raw_sha256,
    }


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(record, allow_nan=False) + "\n" for record in records)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _to(node: str) -> dict[str, str]:
    return {"@id": node}


def _path(name: str) -> str:
    return quote(name)


def _lab(name: str) -> str:
    return f"#lab-{quote(name, safe='')}"


def _device(name: str, firmware: str | None) -> str:
    return f"#instrument-{quote(f'{name} {firmware}' if firmware else name, safe='')}"
