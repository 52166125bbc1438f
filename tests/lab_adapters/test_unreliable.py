from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloudseed.errors import LabError, SpecError
from cloudseed.lab_adapters import FailureKind, LabAdapter, Outcome, OutcomeKind, load_lab
from tests.lab_adapters.kit import request, wait

if TYPE_CHECKING:
    from pathlib import Path

N = 20
ROWS = [f"M{n},{-8.0 - n}" for n in range(N)]
KEYS = [f"k-{n}" for n in range(N)]


def make(tmp_path: Path, **config: Any) -> LabAdapter:
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["formula,energy", *ROWS]) + "\n")
    config = {"lab": "table", "config": {"path": str(table), "concurrency": N}, **config}
    return load_lab("unreliable", config, tmp_path / "lab")


def send(lab: LabAdapter, key: str) -> str:
    return lab.submit(request(key, key.replace("k-", "M")))


def outcomes(lab: LabAdapter, handles: list[str]) -> dict[str, Outcome]:
    return {key: Outcome.from_json(m.raw) for key, m in wait(lab, handles).items()}


def values(found: dict[str, Outcome]) -> list[float]:
    return [found[key].measurements[0].value for key in KEYS]


TRUE = [-8.0 - n for n in range(N)]


def test_without_faults_it_is_the_lab_behind_it(tmp_path: Path) -> None:
    lab = make(tmp_path)
    assert values(outcomes(lab, [send(lab, k) for k in KEYS])) == TRUE
    assert lab.describe().name == "unreliable table"


@pytest.mark.parametrize(("fault", "arrived"), [("drop", False), ("lost_reply", True)])
def test_what_is_lost_may_be_sent_again(tmp_path: Path, fault: str, arrived: bool) -> None:
    lab = make(tmp_path, **{fault: 0.5})
    failed = 0
    for key in KEYS:
        for _ in range(50):
            try:
                send(lab, key)
                break
            except LabError:
                failed += 1
                assert (lab.lookup(key) is not None) == arrived
        else:
            pytest.fail("it never got through")
    assert failed > 6
    assert values(outcomes(lab, [lab.lookup(k) or "" for k in KEYS])) == TRUE


def test_results_come_late_twice_and_out_of_order_on_a_virtual_clock(tmp_path: Path) -> None:
    lab = make(tmp_path, tick=10.0, latency=30.0, late=0.3, late_by=300.0, duplicate=0.5)
    handles = [send(lab, k) for k in KEYS]
    rounds, first = [], {}
    for number in range(60):
        messages = lab.poll(handles)
        rounds.append(messages)
        for m in messages:
            first.setdefault(m.key, number)
            assert first.get(m.key) is not None
    assert set(first) == set(KEYS)
    assert len({tuple(m.key for m in r) for r in rounds[-5:]}) > 1  # the order changes
    assert any(len(r) > len({m.key for m in r}) for r in rounds)
    assert len({(m.message_id, m.raw) for r in rounds for m in r}) == len(KEYS)
    late = [k for k in KEYS if first[k] >= 30]
    assert 2 <= len(late) <= 12
    assert [first[k] for k in KEYS] != sorted(first[k] for k in KEYS)


def test_its_clock_and_faults_outlive_a_restart(tmp_path: Path) -> None:
    config = {"tick": 10.0, "latency": 100.0, "noise": 0.1, "crash": 0.3}
    lab = make(tmp_path, **config)
    handles = [send(lab, k) for k in KEYS]
    seen = {m.key: m for _ in range(10) for m in lab.poll(handles)}
    assert 0 < len(seen) < len(KEYS)
    again = make(tmp_path, **config)
    found = {m.key: m for m in again.poll(handles)}
    assert {key: found[key] for key in seen} == seen
    assert wait(again, handles).keys() == set(KEYS)


def test_an_outage_passes(tmp_path: Path) -> None:
    lab = make(tmp_path, outage=0.5)
    handle, failed = send(lab, "k-1"), 0
    for _ in range(20):
        try:
            assert lab.poll([handle])
        except LabError:
            failed += 1
    assert 2 < failed < 18


def test_a_crash_is_a_typed_failure(tmp_path: Path) -> None:
    lab = make(tmp_path, crash=0.3, seed=3)
    found = outcomes(lab, [send(lab, k) for k in KEYS])
    broken = [o for o in found.values() if o.failure is FailureKind.INSTRUMENT_FAULT]
    assert 1 < len(broken) < 13
    assert {o.kind for o in broken} == {OutcomeKind.FAILED_RETRYABLE}


def test_a_wrong_sample_has_its_neighbours_values(tmp_path: Path) -> None:
    lab = make(tmp_path, wrong_sample=0.3)
    measured = values(outcomes(lab, [send(lab, k) for k in KEYS]))
    wrong = [n for n in range(N) if measured[n] != TRUE[n]]
    assert 1 <= len(wrong) <= 12
    assert all(measured[n] == TRUE[n - 1] for n in wrong)


def test_drift_is_hidden_and_noise_is_told(tmp_path: Path) -> None:
    lab = make(tmp_path, drift=0.01)
    found = outcomes(lab, [send(lab, k) for k in KEYS])
    assert values(found) == pytest.approx([v * (1 + 0.01 * n) for n, v in enumerate(TRUE)])
    assert found["k-19"].measurements[0].sigma is None
    (tmp_path / "n").mkdir()
    lab = make(tmp_path / "n", noise=0.1)
    found = outcomes(lab, [send(lab, k) for k in KEYS])
    scores = [(v - t) / (0.1 * abs(t)) for v, t in zip(values(found), TRUE, strict=True)]
    assert 0.5 < (sum(s * s for s in scores) / len(scores)) ** 0.5 < 1.6
    assert found["k-0"].measurements[0].sigma == pytest.approx(0.8)


def test_a_seed_is_a_fate(tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        lab = make(folder, noise=0.1, seed=seed)
        found.append(values(outcomes(lab, [send(lab, k) for k in KEYS])))
    assert found[0] == found[1] != found[2]


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="needs the setting 'lab'"):
        load_lab("unreliable", {}, tmp_path)
    with pytest.raises(SpecError, match="setting 'drop'"):
        make(tmp_path, drop=2.0)
