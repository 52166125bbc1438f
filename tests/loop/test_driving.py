"""The commands by which people and service managers drive a campaign."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from cloudseed import loop
from cloudseed.cli.app import app
from cloudseed.db import ExperimentState, Wish
from cloudseed.errors import UsageError
from cloudseed.lab_adapters import DeliveryClass
from cloudseed.loop import campaign as module
from cloudseed.loop import collecting, patience
from cloudseed.loop.workspace import Workspace
from tests.loop.labs import InstantLab
from tests.loop.small import spec_of


@pytest.fixture
def run(tmp_path, campaign_on, monkeypatch):
    """A run folder whose campaign is driven on a lab that answers at once."""
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    monkeypatch.setattr(collecting, "RETRY_PAUSE", 0.0)
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)
    lab = InstantLab()
    with campaign_on(lab, spec_of()):
        pass

    @contextmanager
    def opened(workspace, stage):
        with campaign_on(lab, spec_of()) as campaign:
            yield campaign

    monkeypatch.setattr(loop, "open_campaign", opened)
    Workspace.create(tmp_path, "small", None)
    return tmp_path, lab


def call(*words: object) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(w) for w in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_worker_drives_to_the_end(run):
    folder, lab = run
    said = call("worker", folder)
    assert "finished: the budget of 10 experiments is spent" in said
    assert set(lab.runs.values()) == {1}


@pytest.mark.parametrize(("manner", "measured"), [("leave", 0), ("finish", 2)])
def test_a_worker_that_is_told_to_end_does_as_it_was_asked(run, ledger, manner, measured):
    folder, lab = run
    submit = lab.submit

    def and_then_the_service_is_stopped(request):
        handle = submit(request)
        if lab.submissions == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return handle

    lab.submit = and_then_the_service_is_stopped
    said = call("worker", folder, "--on-stop", manner)
    assert "stopped: asked by the user" in said
    assert len(ledger.experiments(1, [ExperimentState.MEASURED])) == measured
    assert len(ledger.experiments(1, [ExperimentState.RUNNING])) == 2 - measured
    assert ledger.wished(1)[0] is Wish.RUN
    assert "finished" in call("worker", folder)
    assert set(lab.runs.values()) == {1}


@pytest.mark.parametrize("why", ["the service was told to end", "painting"])
def test_only_a_persons_wish_outlives_the_worker(run, ledger, why):
    folder, _ = run
    ledger.wish(1, Wish.DRAIN, why)
    said = call("worker", folder)
    assert ("finished" in said) == (why != "painting")


def test_pause_is_recorded_and_resume_takes_it_back(run, ledger):
    folder, _ = run
    assert "no engine drives it now" in call("pause", folder, "--reason", "painting")
    assert ledger.wished(1) == (Wish.PAUSE, "painting")
    assert (
        "paused by a person (painting)" in json.loads(call("status", folder, "--json"))["waiting"]
    )
    with ledger.claim(1):
        assert "its engine goes on" in call("resume", folder)
    assert ledger.wished(1)[0] is Wish.RUN
    assert "its engine" not in call("stop", folder, "--finish")
    assert ledger.wished(1)[0] is Wish.DRAIN
    kinds = [e.data["wish"] for e in ledger.events(1) if e.kind == "wish_recorded"]
    assert kinds == ["pause", "run", "drain"]


def words_of(ledger) -> list[dict]:
    return [e.data for e in ledger.events(1) if e.kind == "person_said"]


@pytest.mark.parametrize("manner", [["pause"], ["stop"], ["stop", "--finish"]])
def test_a_person_allows_what_a_worker_then_drives(run, ledger, manner):
    folder, lab = run
    call(manner[0], folder, *manner[1:], "--reason", "painting")
    said = call("resume", folder, "--no-engine", "--reason", "dry", "--by", "Ada")
    assert "it may go on; no engine drives it now" in said
    assert f"cloudseed worker {folder}" in said.replace("\n", "")
    assert words_of(ledger) == [{"word": "resumed", "by": "Ada", "reason": "dry"}]
    assert ledger.wished(1)[0] is Wish.RUN
    assert lab.submissions == 0
    assert "finished" in call("worker", folder)


def test_an_engine_that_is_there_is_only_told(run, ledger):
    folder, _ = run
    call("pause", folder)
    with ledger.claim(1):
        told = json.loads(call("resume", folder, "--no-engine", "--json"))
        assert (told["was_held"], told["engine"]) == (True, True)
        told = json.loads(call("resume", folder, "--no-engine", "--json"))
        assert (told["was_held"], told["engine"]) == (False, True)
    assert ledger.wished(1)[0] is Wish.RUN


def test_what_is_finished_needs_no_leave(run, ledger):
    folder, _ = run
    call("worker", folder)
    asked = CliRunner().invoke(app, ["resume", str(folder), "--no-engine"])
    assert isinstance(asked.exception, UsageError)
    assert "is finished: the budget of 10" in asked.exception.message
    assert "cloudseed run" in asked.exception.hint
    assert words_of(ledger) == []


def doubt(campaign_on, ledger) -> int:
    with campaign_on(InstantLab(delivery=DeliveryClass.C)) as campaign:
        campaign._plan()
        item = ledger.next_to_send(campaign.context.claim)
        campaign._recover()
        return item.experiment.id


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (["--arrived", "job-7"], "running"),
        (["--absent"], "planned"),
        (["--abandon"], "cancelled"),
    ],
)
def test_a_doubt_is_settled_by_what_a_person_saw(run, campaign_on, ledger, words, state):
    folder, _ = run
    number = doubt(campaign_on, ledger)
    shown = json.loads(call("experiments", "list", folder, "--state", "in_doubt", "--json"))
    assert [line["id"] for line in shown] == [number]
    call("experiments", "resolve", number, folder, "--reason", "seen in the queue", *words)
    row = next(e for e in ledger.experiments(1) if e.id == number)
    assert row.state.value == state
    assert row.handle == ("job-7" if state == "running" else None)
    assert ledger.verify() == []
    again = CliRunner().invoke(
        app, ["experiments", "resolve", str(number), str(folder), "--reason", "x", *words]
    )
    assert again.exit_code == 1


def test_a_doubt_wants_one_answer(run):
    folder, _ = run
    words = ["experiments", "resolve", "1", str(folder), "--reason", "x"]
    for more in ([], ["--absent", "--abandon"]):
        assert CliRunner().invoke(app, [*words, *more]).exit_code != 0
