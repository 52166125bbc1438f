"""The command `propose`: its options, and what it prints."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from cloudseed.cli import propose_options as option  # noqa: TC001  Typer reads them
from cloudseed.cli.options import AsJson  # noqa: TC001
from cloudseed.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudseed.loop.proposing import Proposed
    from cloudseed.loop.recipe import Choice, Recipe
    from cloudseed.proposers import Parent

__all__ = ["propose"]

_TOP_REASONS = 12
_PROPOSERS = ("similarity_substitution", "ionic_substitution")
_CHEMISTRY = ("cations_present", "ion_size", "perovskite_tolerance")


def propose(  # noqa: PLR0917  Typer passes options by name
    parents: option.Parents = None,
    proposer: option.ProposerOption = None,
    listed: option.ListOption = None,
    per_parent: option.PerParent = 2000,
    keep_parents: option.KeepParents = False,
    disorder: option.Disorder = "refuse",
    skip_bad: option.SkipBad = False,
    symprec: option.Symprec = 0.01,
    allow: option.Allow = None,
    forbid: option.Forbid = None,
    filters: option.FilterOption = None,
    neutral: option.Neutral = True,
    chemistry: option.Chemistry = True,
    known: option.Known = None,
    novelty: option.Novelty = "prototype",
    top: option.Top = 1000,
    max_per_parent: option.MaxParent = None,
    max_per_system: option.MaxSystem = None,
    share: option.Share = None,
    explore: option.Explore = 0.0,
    out: option.Out = None,
    structures: option.Structures = True,
    dialect: option.Dialect = "canonical",
    explain: option.Explain = None,
    seed: option.Seed = 0,
    workers: option.Workers = None,
    json: AsJson = False,
) -> None:
    """Propose new crystals from parents by substitution, likeliest first, each with its papers."""
    if explain is not None and not parents and not listed:
        _explain_written(out, explain, as_json=json)
        return
    from cloudseed.loop.pool_files import check_pool_path
    from cloudseed.loop.recipe import Choice, Recipe
    from cloudseed.proposers import Quotas

    if out is not None:
        check_pool_path(out)
    chosen = [_choice(text) for text in proposer or ()]
    options = {"symprec": symprec, "disorder": disorder, "skip_bad": skip_bad}
    lists = options | {"workers": workers or 1}
    chosen += [Choice("fixed_list", {"path": path, **lists}) for path in listed or ()]
    if not (parents or chosen):
        raise UsageError(
            "There are no parents.",
            hint='Give crystal files or a folder, or "prototypes" for the bundled ones.',
        )
    if not chosen:
        chosen = [Choice(name) for name in _PROPOSERS]
    judges = [Choice("charge_neutrality")] if neutral else []
    judges += [Choice(name) for name in _CHEMISTRY] if chemistry else []
    judges += [Choice(f"new_{novelty}", {"list": path}) for path in known or ()]
    judges += [_choice(text) for text in filters or ()]
    recipe = Recipe(
        proposers=tuple(chosen),
        filters=tuple(judges),
        allow=_symbols(allow),
        forbid=_symbols(forbid) or (),
        children=per_parent,
        keep_parents=keep_parents,
        top=top or None,
        quotas=Quotas(
            shares=dict(_share(text) for text in share or ()),
            per_parent=max_per_parent,
            per_system=max_per_system,
            exploration=explore,
        ),
        even=max_per_parent is None,
        seed=seed,
        symprec=symprec,
        disorder=disorder,
    )
    _run(
        recipe,
        parents or [],
        options,
        workers=workers,
        out=out,
        structures=structures,
        dialect=dialect,
        explain=explain,
        as_json=json,
    )


def _run(
    recipe: Recipe,
    sources: list[str],
    reading: dict[str, Any],
    *,
    workers: int | None,
    out: Path | None,
    structures: bool,
    dialect: str,
    explain: str | None,
    as_json: bool,
) -> None:
    from cloudseed.cli.progress import progress_bar
    from cloudseed.loop.pool_files import write_pool
    from cloudseed.loop.proposing import propose_from

    folder = out is not None and out.suffix.lower() not in {".parquet", ".csv"}
    with progress_bar() as progress:
        parents, skipped = _parents(sources, reading | {"workers": workers or 1}, progress)
        proposed = propose_from(
            recipe,
            parents,
            dialect=dialect,
            volumes=out is not None and (structures or folder),
            workers=workers,
            progress=progress,
        )
        if out is not None:
            write_pool(out, proposed.proposals, structures=structures, progress=progress)
    if explain is not None:
        _explain_made(proposed, explain, as_json=as_json)
    elif as_json:
        facts = {"parents": len(parents), "skipped": list(skipped), **proposed.summary()}
        _print_json(facts | {"out": None if out is None else str(out)})
    else:
        _show(proposed, len(parents), (*skipped, *proposed.skipped), out)


def _parents(
    sources: list[str], reading: dict[str, Any], progress: Callable[[str, int, int], None]
) -> tuple[tuple[Parent, ...], tuple[str, ...]]:
    from cloudseed.proposers import read_parents

    if not sources:
        return (), ()
    found = read_parents(sources, progress=progress, **reading)
    return found.parents, found.skipped


def _choice(text: str) -> Choice:
    """Turns "name:option=value,other=value" into a choice."""
    from cloudseed.loop.recipe import Choice

    name, _, rest = text.partition(":")
    options = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(
                f"{part!r} in {text!r} is no option.", hint="Write name:option=value,other=value."
            )
        options[key.strip()] = _value(value.strip())
    return Choice(name.strip(), options)


def _value(text: str) -> Any:
    words = {"true": True, "yes": True, "false": False, "no": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _symbols(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(filter(None, (s.strip() for s in text.split(","))))


def _share(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise UsageError(f"{text!r} is no share.", hint="Write proposer=0.2.") from error


def _explain_written(out: Path | None, what: str, *, as_json: bool) -> None:
    from cloudseed.loop.pool_files import read_papers

    if out is None:
        raise UsageError(
            "There are neither parents nor a pool.",
            hint="Give PARENTS, or the pool with --out pool.parquet.",
        )
    _print_papers(read_papers(out, what), as_json=as_json)


def _explain_made(proposed: Proposed, what: str, *, as_json: bool) -> None:
    found = [p for p in proposed.proposals if what in {p.kept.key, p.crystal.formula}]
    exact = [p for p in found if p.kept.key == what] or found
    if len(exact) != 1:
        raise UsageError(
            f"There are {len(exact)} candidates {what!r}.",
            hint=f"Their keys: {', '.join(repr(p.kept.key) for p in exact[:5])}."
            if exact
            else "Look into the pool for keys, or raise --top and --per-parent.",
        )
    _print_papers(exact[0].papers(), as_json=as_json)


def _print_papers(papers: dict[str, Any], *, as_json: bool) -> None:
    from cloudseed.loop.pool_files import explain

    if as_json:
        _print_json(papers)
    else:
        sys.stdout.write("\n".join(explain(papers)) + "\n")


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def _show(proposed: Proposed, parents: int, skipped: tuple[str, ...], out: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    if out is None:
        console.print(_first_table(proposed))
    facts = proposed.summary()
    table = Table(title=f"{parents} parents", title_justify="left")
    for name in ("operation", "raw", "passed", "kept"):
        table.add_column(name, justify="left" if name == "operation" else "right")
    for name, row in facts["operations"].items():
        table.add_row(name, *(f"{row[k]:,}" for k in ("raw", "passed", "kept")))
    table.add_row("all", f"{facts['raw']:,}", "", f"{facts['kept']:,}", style="bold")
    console.print(table)
    for title, reasons in (("dropped", facts["dropped"]), ("unknown, kept", facts["unknown"])):
        for reason, count in list(reasons.items())[:_TOP_REASONS]:
            console.print(f"{title:14}{count:>10,}  {reason}", markup=False)
        if len(reasons) > _TOP_REASONS:
            rest = sum(list(reasons.values())[_TOP_REASONS:])
            console.print(f"{title:14}{rest:>10,}  for {len(reasons) - _TOP_REASONS} other reasons")
    console.print(f"{'duplicates':14}{facts['duplicates']:>10,}  proposed more than once")
    for name, count in facts["quotas"].items():
        console.print(f"{'over a quota':14}{count:>10,}  {name}", markup=False)
    if facts["short"]:
        console.print(
            f"{facts['short']:,} fewer than were asked for: nothing else passes the filters and"
            " quotas"
        )
    for line in skipped:
        console.print(f"left out: {line}", markup=False)
    if out is not None:
        console.print(f"wrote {len(proposed.proposals):,} candidates to {out}", markup=False)


def _first_table(proposed: Proposed, count: int = 20) -> Any:
    from rich.table import Table

    table = Table(title="the first candidates", title_justify="left")
    for name in ("rank", "material", "space group", "parent", "operation", "log p"):
        table.add_column(name, justify="right" if name in {"rank", "log p"} else "left")
    for rank, proposal in enumerate(proposed.proposals[:count], start=1):
        candidate = proposal.kept.candidate
        table.add_row(
            str(rank),
            proposal.crystal.formula,
            str(proposal.crystal.symmetry.space_group),
            ", ".join(candidate.parents),
            candidate.operation.name,
            f"{candidate.log_probability:.2f}",
        )
    return table
