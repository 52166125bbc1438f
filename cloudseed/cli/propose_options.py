"""The options of `cloudseed propose`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "Allow",
    "Chemistry",
    "Dialect",
    "Disorder",
    "Explain",
    "Explore",
    "FilterOption",
    "Forbid",
    "KeepParents",
    "Known",
    "ListOption",
    "MaxParent",
    "MaxSystem",
    "Neutral",
    "Novelty",
    "Out",
    "Parents",
    "PerParent",
    "ProposerOption",
    "Seed",
    "Share",
    "SkipBad",
    "Structures",
    "Symprec",
    "Top",
    "Workers",
]

_PANEL_WHO = "Who proposes"
_PANEL_FILTERS = "What is kept"
_PANEL_OUT = "What is written"

Parents = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PARENTS...",
        help="Structure files (CIF, POSCAR, extended XYZ), folders, patterns, ASE databases, CSVs"
        ' with a column `cif`; "prototypes" for the bundled ones; "mp:Sr-Ti-O?hull=0.05" for the'
        ' Materials Project; \'optimade:cod?elements HAS ALL "Sr","Ti"\' for any OPTIMADE'
        ' database; "-" for CIFs on standard input.',
        show_default=False,
    ),
]
ProposerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--proposer",
        help="A proposer, with options: partial_substitution:cap=12. May be given several times.",
        rich_help_panel=_PANEL_WHO,
        show_default="similarity_substitution (alloys), ionic_substitution",
    ),
]
ListOption = Annotated[
    list[str] | None,
    typer.Option(
        "--list",
        help="A fixed list as a proposer: a folder, a CSV, an ASE database, or - for CIFs that a"
        " generative model prints.",
        rich_help_panel=_PANEL_WHO,
    ),
]
PerParent = Annotated[
    int,
    typer.Option(min=1, help="Raw children per parent and proposer.", rich_help_panel=_PANEL_WHO),
]
KeepParents = Annotated[
    bool,
    typer.Option(
        "--keep-parents/--no-parents",
        help="Whether parents are candidates too.",
        rich_help_panel=_PANEL_WHO,
    ),
]
Disorder = Annotated[
    Literal["refuse", "majority"],
    typer.Option(
        help="Partly occupied sites: refuse such parents, or give each site to whatever is on most"
        " of it.",
        rich_help_panel=_PANEL_WHO,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Leave out structures that cannot be used, and count them.",
        rich_help_panel=_PANEL_WHO,
    ),
]
Symprec = Annotated[
    float,
    typer.Option(
        min=1e-6,
        max=0.5,
        help="Tolerance of the symmetry search, in angstrom.",
        rich_help_panel=_PANEL_WHO,
    ),
]
Allow = Annotated[
    str | None,
    typer.Option(help="Only these elements: Sr,Ba,Ti,O.", rich_help_panel=_PANEL_FILTERS),
]
Forbid = Annotated[
    str | None, typer.Option(help="None of these: Pb,Cd.", rich_help_panel=_PANEL_FILTERS)
]
FilterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        help="A filter, with options: perovskite_tolerance:rule=bartel, supply_risk:most=3000."
        " May be given several times.",
        rich_help_panel=_PANEL_FILTERS,
    ),
]
Neutral = Annotated[
    bool,
    typer.Option(
        "--neutral/--any-charge",
        help="Whether oxidation states must be able to add up to zero.",
        rich_help_panel=_PANEL_FILTERS,
    ),
]
Chemistry = Annotated[
    bool,
    typer.Option(
        "--chemistry/--no-chemistry",
        help="Whether ions must have about the size of those they replace and fit a perovskite, and"
        " compounds of chalcogens or halogens alone are out.",
        rich_help_panel=_PANEL_FILTERS,
    ),
]
Known = Annotated[
    list[str] | None,
    typer.Option(
        help="A list of what is known or measured: anything parents may come from, or a CSV with a"
        " column `formula`.",
        rich_help_panel=_PANEL_FILTERS,
    ),
]
Novelty = Annotated[
    Literal["composition", "prototype", "structure"],
    typer.Option(
        help="New relative to the known lists by composition, by elements on Wyckoff orbits, or by"
        " comparing built structures.",
        rich_help_panel=_PANEL_FILTERS,
    ),
]
Top = Annotated[
    int, typer.Option(min=0, help="Candidates to keep; 0 for all.", rich_help_panel=_PANEL_FILTERS)
]
MaxParent = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Most candidates of one parent.",
        show_default="an even share, or what it takes to reach --top",
        rich_help_panel=_PANEL_FILTERS,
    ),
]
MaxSystem = Annotated[
    int | None,
    typer.Option(
        min=1, help="Most candidates of one chemical system.", rich_help_panel=_PANEL_FILTERS
    ),
]
Share = Annotated[
    list[str] | None,
    typer.Option(
        help="Largest share of one proposer: partial_substitution=0.2.",
        rich_help_panel=_PANEL_FILTERS,
    ),
]
Explore = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Share that is drawn at random instead of likeliest first.",
        rich_help_panel=_PANEL_FILTERS,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="A .parquet or .csv file, or a new folder for CIFs.",
        rich_help_panel=_PANEL_OUT,
        show_default=False,
    ),
]
Structures = Annotated[
    bool,
    typer.Option(
        "--structures/--no-structures",
        help="Whether tables hold CIFs in predicted volumes; about a hundred a second.",
        rich_help_panel=_PANEL_OUT,
    ),
]
Dialect = Annotated[
    Literal["canonical", "cloud"],
    typer.Option(help="Dialect of the SCOPE strings.", rich_help_panel=_PANEL_OUT),
]
Explain = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Print the papers of one candidate, by key or formula; without PARENTS from the pool"
        " that --out names.",
        rich_help_panel=_PANEL_OUT,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all randomness.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Processes that work at the same time.", show_default="as many as pay"
    ),
]
