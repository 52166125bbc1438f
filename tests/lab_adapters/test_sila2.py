"""A real SiLA 2 server, made with the library sila2."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.errors import LabError, MissingDependencyError, SpecError
from cloudseed.lab_adapters import (
    ExperimentRequest,
    FailureKind,
    JobState,
    Outcome,
    OutcomeKind,
    load_lab,
)
from tests.lab_adapters.gateways import free_port
from tests.lab_adapters.kit import request, wait
from tests.lab_adapters.sila_instrument import Instrument, certificate, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloudseed.lab_adapters import OperableLab

needs_sila2 = pytest.mark.skipif(
    find_spec("sila2") is None, reason="pip install 'cloudseed[sila2]'"
)


def open_lab(port: int, folder: Path, **more: Any) -> OperableLab:
    return load_lab("sila2", settings(port, **more), folder)  # type: ignore[return-value]


def weighing(key: str = "k-1", label: str = "SrTiO3") -> ExperimentRequest:
    return request(key, label, properties=("density",))


def outcome(lab: OperableLab, handle: str) -> Outcome:
    (message,) = wait(lab, [handle]).values()
    return Outcome.from_json(message.raw)


@pytest.fixture(scope="module")
def instrument(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instrument]:
    with Instrument(tmp_path_factory.mktemp("sila") / "instrument", free_port()) as found:
        yield found


@needs_sila2
def test_a_command_becomes_a_measurement(instrument: Instrument, tmp_path: Path) -> None:
    lab = open_lab(instrument.port, tmp_path)
    assert lab.health().details["server"] == "Bench"
    handle = lab.submit(weighing("one"))
    assert lab.submit(weighing("one")) == handle == lab.lookup("one")
    found = outcome(lab, handle)
    (value,) = found.measurements
    assert (value.value, value.unit, value.sigma) == (5.0, "g/cm^3", 0.1)
    assert instrument.runs().count("one") == 1
    lab.close()


@needs_sila2
def test_an_execution_is_found_again_by_its_uuid(instrument: Instrument, tmp_path: Path) -> None:
    lab = open_lab(instrument.port, tmp_path)
    handle = lab.submit(weighing("two"))
    lab.close()
    again = open_lab(instrument.port, tmp_path)
    assert again.lookup("two") == handle
    assert outcome(again, handle).kind is OutcomeKind.MEASURED
    assert instrument.runs().count("two") == 1
    again.close()


@needs_sila2
@pytest.mark.parametrize(
    ("label", "failure", "words"),
    [
        ("melts", FailureKind.SAMPLE_FAILED, "SampleMelted: It melted."),
        ("breaks", FailureKind.INSTRUMENT_FAULT, "The pan is stuck."),
    ],
)
def test_the_instruments_errors_are_failures(
    instrument: Instrument, tmp_path: Path, label: str, failure: FailureKind, words: str
) -> None:
    lab = open_lab(instrument.port, tmp_path)
    found = outcome(lab, lab.submit(weighing(f"three-{label}", label)))
    assert found.failure is failure
    assert words in found.reason
    lab.close()


@needs_sila2
def test_what_the_server_does_not_know_is_named(instrument: Instrument, tmp_path: Path) -> None:
    lab = open_lab(instrument.port, tmp_path / "a", command="Wiegh")
    with pytest.raises(LabError, match=r"no command Balance\.Wiegh"):
        lab.submit(weighing("four"))
    other = open_lab(instrument.port, tmp_path / "b", parameters={"Colour": "red"})
    with pytest.raises(LabError, match="says"):
        other.submit(weighing("four"))
    assert lab.lookup("four") is other.lookup("four") is None
    assert "four" not in instrument.runs()
    with pytest.raises(LabError, match="cannot cancel"):
        lab.cancel("four")


@needs_sila2
def test_a_call_without_an_answer_waits_for_a_person(
    instrument: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sila2.client.client_observable_command import ClientObservableCommand

    lab = open_lab(instrument.port, tmp_path)
    whole = ClientObservableCommand.__call__

    def lost(self: Any, *args: Any, **more: Any) -> Any:
        whole(self, *args, **more).cancel_execution_info_subscription()
        raise OSError("connection reset")

    monkeypatch.setattr(ClientObservableCommand, "__call__", lost)
    with pytest.raises(LabError, match="connection reset"):
        lab.submit(weighing("five"))
    monkeypatch.undo()
    for ask in (lambda: lab.lookup("five"), lambda: lab.submit(weighing("five"))):
        with pytest.raises(LabError, match="Nobody can say"):
            ask()
    outcome(lab, lab.submit(weighing("five-later")))
    assert instrument.runs().count("five") == 1
    lab.close()


@needs_sila2
def test_tls_is_spoken_and_asked_for(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    with Instrument(tmp_path / "instrument", free_port(), tls=tls) as instrument:
        secure = {"insecure": False, "ca": str(tls[1])}
        lab = open_lab(instrument.port, tmp_path / "a", **secure)
        assert outcome(lab, lab.submit(weighing())).kind is OutcomeKind.MEASURED
        lab.close()
        for wrong in ({}, {"insecure": False}):
            with pytest.raises(LabError, match="cannot be reached"):
                open_lab(instrument.port, tmp_path / "b", **wrong).submit(weighing("k-2"))
        assert instrument.runs() == ["k-1"]


@needs_sila2
@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "kills"), [(10, 2), pytest.param(300, 12, marks=pytest.mark.nightly)]
)
def test_a_restarted_server_has_lost_what_it_ran_and_nothing_runs_twice(
    tmp_path: Path, jobs: int, kills: int
) -> None:
    keys = sorted(f"job-{n:03d}" for n in range(jobs))
    recorded: dict[str, OutcomeKind] = {}
    in_doubt: set[str] = set()
    killed = 0
    with Instrument(tmp_path / "instrument", free_port(), work=0.1) as instrument:
        lab = open_lab(instrument.port, tmp_path / "lab")
        waiting, open_ = list(keys), dict[str, str]()
        while waiting or open_:
            while waiting and len(open_) < 4:
                key = waiting.pop(0)
                try:
                    open_[key] = lab.submit(weighing(key))
                except LabError:
                    in_doubt.add(key)
            if killed < kills and (jobs - len(waiting)) >= jobs * (killed + 0.5) / kills:
                instrument.kill()
                killed += 1
                with pytest.raises(LabError, match="cannot be reached"):
                    lab.poll(list(open_.values()))
                instrument.start()
            for message in lab.poll(list(open_.values())):
                recorded[message.key] = Outcome.from_json(message.raw).kind
                del open_[message.key]
            time.sleep(0.02)
        runs = instrument.runs()
        lab.close()
    lost = {key for key, kind in recorded.items() if kind is OutcomeKind.UNKNOWN}
    assert killed == kills
    assert set(recorded) | in_doubt == set(keys)
    assert set(recorded.values()) == {OutcomeKind.MEASURED, OutcomeKind.UNKNOWN}
    assert len(lost) >= kills  # what ran when it was killed, truly lost
    assert len(runs) == len(set(runs))
    assert {key for key in keys if key not in lost} - in_doubt <= set(runs)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sila2.client", None)
    monkeypatch.setitem(sys.modules, "sila2", None)
    with pytest.raises(MissingDependencyError) as caught:
        open_lab(1, tmp_path)
    assert caught.value.hint == "pip install 'cloudseed[sila2]'"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"host": "balance.example.org"}, "asks for TLS"),
        ({"responses": {}}, "does not say where 'density' is"),
        ({"errors": {"SampleMelted": "unknown"}}, "is an answer, not unknown"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=words):
        open_lab(1, tmp_path, **change)


@needs_sila2
def test_what_was_submitted_is_reconciled(instrument: Instrument, tmp_path: Path) -> None:
    lab = open_lab(instrument.port, tmp_path)
    outcome(lab, lab.submit(weighing("six")))
    known, stranger = lab.reconcile(["six", "seven"])
    assert (known.state, stranger.state) == (JobState.FINISHED, JobState.UNKNOWN)
    lab.close()
