"""The report: what was found, how it compares with random, and how it was decided."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed import __version__
from cloudseed.db import ExperimentState
from cloudseed.errors import CloudseedError
from cloudseed.loop import figures
from cloudseed.loop.amending import doubts, ends
from cloudseed.loop.calibrating import prospective
from cloudseed.loop.encoders import in_force
from cloudseed.loop.exporting import final_cell, table_of
from cloudseed.loop.front_figures import front_figures
from cloudseed.loop.planning import situation
from cloudseed.loop.pool import CrystalShelf, Pool
from cloudseed.loop.results import (
    improvements,
    in_order_of_arrival,
    load_results,
    ranked,
    that_count,
)
from cloudseed.loop.safety.approvals import made_on
from cloudseed.loop.snapshot import take_snapshot
from cloudseed.loop.workspace import campaign_of, reading, write_text
from cloudseed.surrogate import decision_seed, describe, expected_random_best, rank, with_reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from cloudseed.db import CampaignRow, DecisionRow, Ledger
    from cloudseed.loop.results import Result
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.loop.workspace import Workspace
    from cloudseed.surrogate import Problem, RandomCurve, Scores

__all__ = ["write_report", "write_results"]

log = logging.getLogger(__name__)

_WINNERS = 10
_NEXT = 10
_ROWS = 60


@dataclass(frozen=True, slots=True)
class _Material:
    """What the report is made from."""

    ledger: Ledger
    campaign: CampaignRow
    spec: CampaignSpec
    results: Sequence[Result]
    decisions: Sequence[DecisionRow]

    @property
    def count(self) -> Sequence[Result]:
        """The results whose values count."""
        return that_count(self.results, self.spec.sources)


def write_results(workspace: Workspace) -> None:
    """Writes the report, the ranked table and the winners' structures into the run folder."""
    write_report(workspace, None)
    with reading(workspace) as ledger:
        row, spec = campaign_of(ledger, workspace)
        count = that_count(load_results(ledger, row.id, spec.problem), spec.sources)
        results = ranked(count, spec.problem)
        table = table_of(results, spec.problem.columns)
        write_text(workspace.path / "ranked.csv", table)
        for old in workspace.winners.glob("*.cif"):
            old.unlink()
        for place, result in enumerate(_good(results)[:_WINNERS], 1):
            name = f"{place:02d}_{result.candidate.formula}.cif"
            write_text(workspace.winners / name, final_cell(ledger, result).to_cif())


def write_report(workspace: Workspace, out: Path | None) -> Path:
    """Writes the report as one self-contained HTML file.

    Args:
        workspace: The campaign's run folder.
        out: Where to write it; `report.html` in the run folder if None.

    Returns:
        The file.
    """
    path = out or workspace.path / "report.html"
    with reading(workspace) as ledger:
        campaign, spec = campaign_of(ledger, workspace)
        material = _Material(
            ledger,
            campaign,
            in_force(ledger, campaign, spec),
            load_results(ledger, campaign.id, spec.problem),
            ledger.decisions(campaign.id),
        )
        html = _template().render(**_content(material))
    write_text(path, html)
    return path


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cloudseed.loop"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html.jinja")


def _content(material: _Material) -> dict[str, Any]:
    from plotly.offline import get_plotlyjs

    spec = material.spec
    arrived = in_order_of_arrival(material.count)
    problem = with_reference(spec.problem, [r.values for r in arrived])
    curve = improvements(material.count, problem)
    scores, random = _model_view(material, problem, len(arrived))
    sections = {
        "best_so_far": figures.best_so_far_figure(curve, arrived, random, problem),
        "trade_off": figures.trade_off_figure(arrived, problem)
        if not problem.further
        and any(c.property != problem.objective.property for c in problem.constraints)
        else None,
    }
    predicted = [r for r in material.count if r.predicted and r.measured]
    return {
        "plotlyjs": get_plotlyjs(),
        "name": spec.name,
        "goal": describe(problem),
        "description": spec.description,
        **{k: f and figures.fragment(f, k.replace("_", "-")) for k, f in sections.items()},
        "parity": [
            figures.fragment(figures.parity_figure(predicted, name), f"parity-{i}")
            for i, name in enumerate(problem.properties)
        ]
        if predicted
        else [],
        "fronts": [
            figures.fragment(figure, f"front-{i}")
            for i, figure in enumerate(front_figures(arrived, problem))
        ],
        "calibration": _calibration(material),
        "random_note": _random_note(random),
        **_tables(material, scores),
        **_header(material),
    }


def _model_view(
    material: _Material, problem: Problem, count: int
) -> tuple[Scores | None, RandomCurve | None]:
    """Scores what is left with all that is known, and what random would have found."""
    pool = _cached_pool(material)
    if pool is None:
        return None, None
    state = situation(material.ledger, material.campaign.id, pool, problem, material.spec.sources)
    seed = decision_seed(material.spec.seed, len(material.decisions))
    try:
        # Random choice may meet what was measured too, so all of the pool is scored.
        everything = range(len(pool.rows))
        scores = rank(
            pool.blocks(material.spec.decide.features),
            state.observations,
            available=everything,
            problem=problem,
            seed=seed,
            hints=pool.hints(problem),
            guesses=pool.guesses(material.spec),
            models=material.spec.surrogate.settings,
        ).scores
        random = expected_random_best(scores, problem, count=count, seed=seed)
    except CloudseedError as error:
        log.warning("no model for the report", extra={"why": error.message})
        return None, None
    return scores, random


def _cached_pool(material: _Material) -> Pool | None:
    """Returns the pool with the embeddings that the ledger holds, or None if one is missing."""
    if not material.decisions:
        return None
    encoder = material.decisions[-1].encoder_id
    rows = material.ledger.candidates(material.campaign.id)
    cached = material.ledger.get_embeddings(encoder, [row.scope for row in rows])
    if any(row.scope not in cached for row in rows):
        return None
    features = np.stack([cached[row.scope] for row in rows])
    return Pool(rows, features, encoder, shelf=CrystalShelf(material.ledger))


def _random_note(random: RandomCurve | None) -> str:
    if random is None:
        return "There is no model yet from which to expect what random choice would find."
    return (
        "Dashed: what choosing at random from the same pool is expected to find, with its 90 %"
        " band. The pool's unmeasured values are drawn from the model after the last experiment,"
        " so the curve is an estimate; benchmarks/random_campaigns.py runs real ones."
    )


def _calibration(material: _Material) -> list[dict[str, Any]]:
    """Returns a line per property on how its predictions came true."""
    last = material.spec.decide.recalibrate
    found = prospective(material.count, material.decisions, last)
    return [
        {
            "label": figures.label(name),
            "count": p.count,
            "percent": round(100 * p.coverage90),
            "nlpd": f"{p.nlpd:.2f}",
            "sharpness": f"{p.sharpness:.3g}",
            "width": f"{p.width:.2f}",
        }
        for name, p in found.items()
    ]


def _header(material: _Material) -> dict[str, Any]:
    campaign, spec = material.campaign, material.spec
    now = take_snapshot(material.ledger, campaign, spec)
    name = spec.problem.objective.property
    top = now.best.value(name) if now.best else None
    last = material.decisions[-1] if material.decisions else None
    cards = [] if now.hits is None else [{"label": "found", "value": now.hits}]
    if now.front is not None:
        cards += [
            {"label": "on the front", "value": len(now.front)},
            {"label": "hypervolume", "value": f"{now.hypervolume or 0.0:.4g}"},
        ]
    cards += [
        {"label": f"best {figures.label(name)}", "value": "-" if top is None else f"{top:.4g}"},
        {"label": "best material", "value": now.best.candidate.formula if now.best else "-"},
        {"label": "measured", "value": f"{now.measured} of {now.budget}"},
        {"label": "without a measurement", "value": now.unsuccessful},
        {"label": "candidates", "value": f"{now.pool:,}"},
        {"label": "rounds", "value": now.rounds},
        {"label": "minutes", "value": f"{now.elapsed / 60:.1f}"},
    ]
    return {
        "cards": cards,
        "ending": f"Status: {now.status}; {now.stop_reason or now.waiting}.",
        **_computed(campaign),
        "encoder": f"{spec.encoder} ({(last.encoder_id if last else '')[:16]})",
        "pool": f"{now.pool:,}",
        "pool_sha": (last.pool_sha if last else "")[:16],
        "config_sha": campaign.config_sha[:16],
        "version": __version__,
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _computed(campaign: CampaignRow) -> dict[str, Any]:
    """Returns whether any lab is simulated, which, and whether all are."""
    labs = made_on(campaign)
    computed = [lab["name"] for lab in labs if lab["simulated"]]
    return {
        "simulated": bool(computed),
        "all_simulated": len(computed) == len(labs),
        "lab": ", ".join(computed),
    }


def _tables(material: _Material, scores: Scores | None) -> dict[str, Any]:
    problem = material.spec.problem
    best_first = ranked(material.results, problem, material.spec.sources)
    return {
        "properties": [{"label": figures.label(p)} for p in problem.properties],
        "hints": material.spec.sources is not None,
        "rows": [_row(material, r) for r in best_first[:_ROWS]],
        "failures": [
            {
                "formula": r.candidate.formula,
                "state": r.experiment.state.value,
                "reason": r.experiment.reason,
            }
            for r in material.results
            if r.experiment.state.terminal
            and r.experiment.state not in {ExperimentState.MEASURED, ExperimentState.CANCELLED}
        ],
        "predicted_properties": [figures.label(p) for p in (scores.properties if scores else ())],
        "next_best": _next_best(material, scores),
        "winners": [
            _winner(material, r) for r in _good(ranked(material.count, problem))[:_WINNERS]
        ],
        "decisions": _decisions(material),
    }


def _good(results: Sequence[Result]) -> list[Result]:
    return [r for r in results if r.feasible is not False]


def _row(material: _Material, result: Result) -> dict[str, Any]:
    papers, sources = material.ledger.papers(result.candidate.id), material.spec.sources
    parents = {str(p): None for origin in papers.get("origins", ()) for p in origin["parents"]}
    return {
        "formula": result.candidate.formula,
        "space_group": result.space_group,
        "cells": [
            _value(*result.measured[p]) if p in result.measured else "-"
            for p in material.spec.problem.properties
        ],
        "feasible": {True: "hold", False: "fail", None: "unknown"}[result.feasible],
        "lab": result.experiment.lab,
        "counts": sources is None or not sources(result.experiment.lab),
        "round": result.step + 1,
        "parents": ", ".join(parents),
    }


def _value(value: float, sigma: float | None) -> str:
    return f"{value:.4g}" if sigma is None else f"{value:.4g} ± {sigma:.2g}"


def _next_best(material: _Material, scores: Scores | None) -> list[dict[str, Any]]:
    if scores is None:
        return []
    rows = material.ledger.candidates(material.campaign.id)
    tried = {r.candidate.position for r in material.count}
    left = [(p, row) for p, row in enumerate(scores.rows.tolist()) if row not in tried]
    return [
        {
            "formula": rows[row].formula,
            "space_group": rows[row].key.split(" ", 1)[0],
            "cells": [
                _value(float(m), float(s))
                for m, s in zip(scores.mean[place], scores.sd[place], strict=True)
            ],
            "feasible": f"{scores.feasible[place]:.2f}",
        }
        for place, row in left[:_NEXT]
    ]


def _winner(material: _Material, result: Result) -> dict[str, str]:
    title = ", ".join(
        f"{figures.label(p)} {_value(*result.measured[p])}"
        for p in material.spec.problem.properties
        if p in result.measured
    )
    return {
        "formula": result.candidate.formula,
        "title": title,
        "cif": final_cell(material.ledger, result).to_cif(),
    }


def _decisions(material: _Material) -> list[dict[str, Any]]:
    amended = material.ledger.amendments(material.campaign.id)
    chosen: dict[int, list[str]] = {}
    for r in material.results:
        lab = f" ({r.experiment.lab})" if material.spec.sources is not None else ""
        chosen.setdefault(r.experiment.decision_id, []).append(r.candidate.formula + lab)
    ended = ends(r.experiment for r in material.results)
    return [
        _decision(d, chosen.get(d.id, []), doubts(d, amended, ended)) for d in material.decisions
    ]


def _decision(
    decision: DecisionRow, chosen: Sequence[str], doubtful: Iterable[str]
) -> dict[str, Any]:
    return {
        "round": decision.step + 1,
        "method": decision.method,
        "chosen": ", ".join(chosen),
        "known": len(decision.observed),
        "pending": len(decision.pending),
        "seed": decision.seed,
        "notes": [
            *decision.notes,
            *doubtful,
        ],
    }
