"""A campaign that is killed in mid-run, again and again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from cloudseed.db import ExperimentState, open_ledger
from cloudseed.errors import CloudseedError

EXPERIMENTS = 40
KILLS = 4
"""Each start of an engine costs some seconds of imports; the nightly run has ten."""

# A third party's lab, installed beside cloudseed: a real pool of worker processes, a quick task.
PLUGIN = """
import time

from cloudseed.lab_adapters import (
    DeliveryClass, ExperimentRequest, LabDescription, Measurement, Outcome, OutcomeKind, Validation,
)
from cloudseed.lab_adapters.workers import JobPool


def measure(request, options):
    time.sleep(options["seconds"])
    with open(options["log"], "a", encoding="utf-8") as log:
        log.write(request["key"] + "\\n")
    species = request["cell"]["species"]
    value = float(sum(sum(map(ord, s)) % 40 for s in species))
    unit = {"bulk_modulus": "GPa", "formation_energy": "eV/atom"}
    rows = {"bulk_modulus": value, "formation_energy": -3.0 + value / 100}
    return Outcome(
        OutcomeKind.MEASURED,
        tuple(Measurement(p, rows[p], unit[p], 0.1) for p in request["properties"]),
    )


class SleepyLab:
    def __init__(self, config, workdir):
        self._pool = JobPool(workdir, "sleepy_lab:measure", options=config, concurrency=2)

    @classmethod
    def from_config(cls, config, workdir):
        return cls(dict(config), workdir)

    def describe(self):
        units = {"bulk_modulus": "GPa", "formation_energy": "eV/atom"}
        return LabDescription("sleepy", units, 2, DeliveryClass.A, simulated=True)

    def validate(self, request):
        return Validation(accepted=True)

    def submit(self, request: ExperimentRequest):
        return self._pool.submit(request.key, request.to_json())

    def lookup(self, key):
        return self._pool.lookup(key)

    def poll(self, handles):
        return self._pool.poll(handles)

    def close(self, *, stop_jobs=False):
        self._pool.close(stop_jobs=stop_jobs)
"""


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A folder with the plug-in installed and a campaign file."""
    (tmp_path / "sleepy_lab.py").write_text(PLUGIN)
    info = tmp_path / "sleepy_lab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sleepy-lab\nVersion: 1.0\n")
    points = "[cloudseed.lab_adapters]\nsleepy = sleepy_lab:SleepyLab\n"
    (info / "entry_points.txt").write_text(points)
    parents = Path(str(files("cloudseed.loop"))) / "templates" / "starter" / "parents"
    spec = {
        "name": "killed",
        "parents": [str(parents)],
        "objective": "max bulk_modulus",
        "constraints": ["formation_energy <= -2.0 eV/atom"],
        "proposer": {"per_parent": 200},
        "lab": {
            "adapter": "sleepy",
            "config": {"seconds": 0.8, "log": str(tmp_path / "made.log")},
        },
        "budget": {"experiments": EXPERIMENTS},
        "seed": 11,
    }
    (tmp_path / "campaign.yaml").write_text(yaml.safe_dump(spec))
    return tmp_path


def changed(scene: Path, key: str, value: object) -> None:
    path = scene / "campaign.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {key: value}))


def start(scene: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(scene), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "cloudseed", *arguments],
        cwd=scene,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def events(scene: Path) -> int:
    """Returns how much the ledger has recorded."""
    path = scene / "run" / "ledger.db"
    if not path.exists():
        return 0
    try:
        with open_ledger(f"sqlite:///{path}", create=False) as ledger:
            return len(ledger.events(1))
    except CloudseedError:
        return 0


def kill(engine: subprocess.Popen[bytes], rng: random.Random) -> None:
    """Kills the engine alone, or with its workers."""
    if rng.random() < 0.5:
        engine.kill()
    else:
        os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()
    assert engine.stderr is not None
    engine.stderr.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_lose_nothing_and_repeat_nothing(scene: Path):
    kill_again_and_again(scene, KILLS)
    assert_nothing_lost_nothing_twice(scene)
    assert_made_once(scene)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_ten_kills_lose_nothing_and_repeat_nothing(scene: Path):
    kill_again_and_again(scene, 10)
    assert_nothing_lost_nothing_twice(scene)
    assert_made_once(scene)


def assert_made_once(scene: Path) -> None:
    made = Counter((scene / "made.log").read_text().split())
    with open_ledger(f"sqlite:///{scene / 'run' / 'ledger.db'}", create=False) as ledger:
        assert set(made) == {f"{e.idem_key}-1" for e in ledger.experiments(1)}


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_ten_kills_on_the_simulated_lab(scene: Path):
    changed(scene, "lab", {"adapter": "mlip", "config": {"concurrency": 2}})
    kill_again_and_again(scene, 10)
    assert_nothing_lost_nothing_twice(scene)


def kill_again_and_again(scene: Path, times: int) -> None:
    """Runs the campaign to its end through so many kills at random instants."""
    rng = random.Random(20261122)
    kills = 0
    engine = start(scene, "run", "campaign.yaml", "--out", "run")
    while kills < times:
        before = events(scene)
        while engine.poll() is None and events(scene) <= before + 2:
            time.sleep(0.1)
        time.sleep(rng.uniform(0.0, 1.5))
        if engine.poll() is not None:
            pytest.fail(f"the campaign ended after {kills} kills: {engine.stderr.read()!r}")
        kill(engine, rng)
        kills += 1
        engine = start(scene, "resume", "run")
    _, errors = engine.communicate(timeout=600)
    assert engine.returncode == 0, errors


def assert_nothing_lost_nothing_twice(scene: Path) -> None:
    """Compares the ledger with the results that the lab itself keeps."""
    with open_ledger(f"sqlite:///{scene / 'run' / 'ledger.db'}", create=False) as ledger:
        assert ledger.verify() == []
        experiments = ledger.experiments(1)
        measurements = ledger.measurements(1)
    measured = [e for e in experiments if e.state is ExperimentState.MEASURED]
    assert len(measured) == EXPERIMENTS
    assert all(e.state.terminal for e in experiments)
    assert len({e.candidate_id for e in experiments}) == len(experiments)
    assert Counter(m.experiment_id for m in measurements) == {e.id: 2 for e in measured}
    results = list((scene / "run" / "lab" / "results").glob("*.json"))
    assert len(results) == len(experiments)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_second_engine_is_refused(scene: Path):
    first = start(scene, "run", "campaign.yaml", "--out", "run")
    while first.poll() is None and events(scene) < 3:
        time.sleep(0.1)
    second = start(scene, "resume", "run")
    _, errors = second.communicate(timeout=120)
    kill(first, random.Random(0))
    assert second.returncode == 1
    assert b"Traceback" not in errors
    assert b"engine" in errors


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ctrl_c_stops_politely_and_resume_goes_on(scene: Path):
    engine = start(scene, "run", "campaign.yaml", "--out", "run")
    while engine.poll() is None and events(scene) < 8:
        time.sleep(0.1)
    engine.send_signal(signal.SIGINT)
    _, errors = engine.communicate(timeout=120)
    assert engine.returncode == 0, errors
    with open_ledger(f"sqlite:///{scene / 'run' / 'ledger.db'}", create=False) as ledger:
        assert ledger.campaign("killed").status == "stopped"
        measured = len(ledger.experiments(1, [ExperimentState.MEASURED]))
    assert measured < EXPERIMENTS
    engine = start(scene, "resume", "run")
    _, errors = engine.communicate(timeout=240)
    assert engine.returncode == 0, errors
    assert_nothing_lost_nothing_twice(scene)
    assert len(set((scene / "made.log").read_text().split())) == EXPERIMENTS
