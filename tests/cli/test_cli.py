"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cloudseed import __version__
from cloudseed.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def cloudseed(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cloudseed", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def within(monkeypatch, capsys):
    """Runs a command in this process, which has loaded what others would have to load anew."""

    def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(cwd)
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.setattr(sys, "argv", ["cloudseed", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, ended.value.code, said.out, said.err)

    return run


def loaded_after(code: str) -> set[str]:
    """Returns the modules that a fresh interpreter has loaded after running some code."""
    script = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"torch", "pymatgen", "botorch", "gpytorch", "transformers", "chgnet", "matcalc", "ase"}


def test_import_loads_nothing_heavy():
    modules = loaded_after("import cloudseed")
    assert not modules & (HEAVY | {"numpy", "sqlalchemy", "pydantic"})


@pytest.mark.parametrize("part", ["proposers", "surrogate", "lab_adapters", "db", "loop"])
def test_parts_load_nothing_heavy(part):
    assert not loaded_after(f"import cloudseed.{part}") & HEAVY


def test_status_loads_no_model():
    code = (
        "import cloudseed.cli.tables\n"
        "from cloudseed.loop import Workspace, campaign_of\n"
        "from cloudseed.loop.overview import overview\n"
        "from cloudseed.loop.spec import validate_spec\n"
        "from cloudseed.loop.tracking import Tracker\n"
        "asked = {'parents': ['b'], 'objective': 'max band_gap', 'budget': {'experiments': 9}}\n"
        "validate_spec({'name': 'a', **asked}, 'a test')"
    )
    modules = loaded_after(code)
    assert "cloudseed.loop.snapshot" in modules
    assert not modules & (HEAVY | {"scipy", "pandas", "alembic", "cloudseed.loop.campaign"})


def test_help_loads_no_part():
    code = (
        "import sys; sys.argv = ['cloudseed', '--help']\n"
        "from cloudseed.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0"
    )
    modules = loaded_after(code)
    assert "cloudseed.cli.app" in modules
    assert not modules & (HEAVY | {"numpy", "sqlalchemy", "pandas", "cloudseed.loop"})


def test_version(tmp_path):
    done = cloudseed("--version", cwd=tmp_path)
    assert done.stdout.strip() == f"cloudseed {__version__}"


COMMANDS = [
    "init",
    "run",
    "resume",
    "status",
    "propose",
    "rank",
    "backtest",
    "predict",
    "report",
    "export",
    "scope",
    "encoder pretrain",
    "encoder finetune",
    "encoder evaluate",
    "encoder embed",
    "encoder card",
    "candidates explain",
    "decision list",
    "decision show",
    "decision replay",
    "explain",
    "experiments retract",
    "experiments correct",
    "db upgrade",
    "db check",
    "db verify",
    "db backup",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command):
    from typer.testing import CliRunner

    from cloudseed.cli.app import app

    done = CliRunner().invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert f"cloudseed {command}" in done.output


@pytest.fixture
def starter(tmp_path: Path, within) -> Path:
    assert within("init", "demo", cwd=tmp_path).returncode == 0
    return tmp_path


def edited(folder: Path, old: str, new: str) -> Path:
    path = folder / "demo" / "campaign.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("objective: max bulk_modulus", "objective: max bulk_modulos", "cannot measure"),
        ("objective:", "objectve:", "unknown"),
        ("formation_energy <= -2.0 eV/atom", "formation_energy <= -2.0 GPa", "GPa"),
        ("parents: [parents]", "parents: [nowhere]", "nowhere"),
        ("forbid: [Be,", "forbid: [Xx,", "Xx"),
        ("in_flight: 2", "in_flight: 99", "in_flight"),
        ("adapter: mlip", "adapter: mlpi", "mlpi"),
        ("concurrency: 2", "concurency: 2", "concurency"),
        ("seed: 1", "seed: 1\nencoder: cloud-smal", "cloud-smal"),
        ("seed: 1", "seed: 1\nproposer: {name: alchemy}", "alchemy"),
        ("forbid: [Be, Cd, Hg, Pb, Tl, As]", "allow: [He]", "candidates passed"),
    ],
)
def test_bad_campaigns_end_in_one_sentence_and_leave_no_folder(starter, within, old, new, message):
    edited(starter, old, new)
    done = within("run", "demo/campaign.yaml", cwd=starter)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr
    assert done.returncode in {1, 2}
    assert not (starter / "runs").exists()


def test_broken_cif_is_named(starter):
    (starter / "demo" / "parents" / "broken.cif").write_text("data_x\n_cell_length_a oops\n")
    done = cloudseed("run", "demo/campaign.yaml", cwd=starter)
    assert done.returncode == 2
    assert "broken.cif" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_flags_and_missing_folders(tmp_path, within):
    for arguments, words in (
        (["run", "--no-such-flag"], "no-such-flag"),
        (["run", "nothing.yaml"], "nothing.yaml"),
        (["resume", "nothing"], "nothing"),
        (["status"], "runs"),
        (["db", "check", "sqlite:///nothing/x.db"], "nothing"),
        (["rank", "--pool", "a.csv"], "measured"),
    ):
        done = within(*arguments, cwd=tmp_path)
        assert done.returncode in {1, 2}, arguments
        assert words in done.stderr, arguments
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_campaign_on_a_table_from_start_to_export(starter, within):
    values = table_for(starter)
    path = edited(starter, "adapter: mlip", "adapter: table")
    config = f"    path: {values}\n    column: key\n    match: candidate\n"
    path.write_text(path.read_text().replace("    concurrency: 2\n", config))
    done = cloudseed("run", "demo/campaign.yaml", "--json", cwd=starter)
    assert done.returncode == 0, done.stderr
    end = json.loads(done.stdout)
    assert (end["status"], end["measured"]) == ("finished", 12)
    run = starter / "runs" / "my-campaign"
    assert (run / "report.html").exists()

    again = within("run", "demo/campaign.yaml", cwd=starter)
    assert again.returncode == 2
    assert "resume" in again.stderr

    status = json.loads(cloudseed("status", "--json", cwd=starter).stdout)
    assert status["measured"] == 12
    assert cloudseed("resume", cwd=starter).returncode == 0
    table = cloudseed("export", "my-campaign", cwd=starter).stdout.splitlines()
    assert len(table) == 13
    assert cloudseed("db", "check", cwd=starter).stdout.strip() == "the ledger is sound"
    cifs = cloudseed("export", "--format", "cif", "--out", "cifs", cwd=starter)
    assert cifs.returncode == 0
    assert len(list((starter / "cifs").glob("*.cif"))) == 12


def table_for(folder: Path) -> Path:
    """Writes a table of made-up values for every candidate of the starter campaign."""
    from cloudseed.loop import load_spec
    from cloudseed.loop.proposing import propose_from
    from cloudseed.loop.recipe import Recipe
    from cloudseed.proposers import load_parents

    spec = load_spec(folder / "demo" / "campaign.yaml")
    proposed = propose_from(Recipe.of(spec), load_parents(spec.parents))
    lines = ["key,bulk_modulus,formation_energy"]
    for key in (proposal.kept.key for proposal in proposed.proposals):
        number = sum(map(ord, key))
        lines.append(f"{key},{50 + number % 150},{-1.5 - number % 3}")
    path = folder / "demo" / "values.csv"
    path.write_text("\n".join(lines))
    return path
