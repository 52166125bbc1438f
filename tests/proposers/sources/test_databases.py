"""Materials Project and OPTIMADE clients against a server that speaks their protocols."""

import sys
import time
from types import SimpleNamespace

import pytest

from cloudseed.errors import InputError, MissingDependencyError, UsageError
from cloudseed.proposers.parents import read_parents
from cloudseed.proposers.sources import _http, find_entries
from tests.proposers.databases import KEY, MATERIALS, database

OPTIMADE = 'elements HAS "O"'


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(_http, "LONGEST_PAUSE", 0.01)
    monkeypatch.setenv("MP_API_KEY", KEY)


def ask(monkeypatch, question, *wrong, page=2):
    with database(*wrong, page=page) as (address, asked):
        monkeypatch.setenv("MP_API_ENDPOINT", address)
        text = question.replace("HERE", address)
        return list(find_entries([text])), asked


def test_all_pages_of_a_system_become_parents(monkeypatch):
    with database(page=1) as (address, asked):
        monkeypatch.setenv("MP_API_ENDPOINT", address)
        parents = read_parents(["mp:mp-5229,mp-2998,mp-2"]).parents
    assert [p.name for p in parents] == ["mp-5229", "mp-2998", "mp-2"]
    assert parents[0].crystal.key == "221 1a:Sr 1b:Ti 3c:O"
    assert parents[0].source == "Materials Project mp-5229"
    assert [query["_skip"] for _, query in asked] == ["0", "1", "2"]
    assert all(query["deprecated"] == "false" for _, query in asked)


def test_options_bound_hull_and_number(monkeypatch):
    entries, asked = ask(monkeypatch, "mp:Ba-O-Ti?hull=0.05&limit=1")
    assert [e.name for e in entries] == ["mp-2998"]
    assert entries[0].values == {"energy_above_hull": 0.01}
    assert asked[0][1]["energy_above_hull_max"] == "0.05"


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("mp:mp 149", "can be asked for"),
        ("mp:", "can be asked for"),
        ("mp:SrTiO3?hul=0.1", "no option"),
        ("mp:SrTiO3?limit=many", "no option"),
        ("optimade:cod", "no question"),
        ("optimade:?nelements=2", "no question"),
        ("optimade:HERE/?elements HAS", "cannot be used"),
    ],
)
def test_questions_that_cannot_be_read(monkeypatch, question, said):
    with pytest.raises(UsageError, match=said) as caught:
        ask(monkeypatch, question)
    assert caught.value.hint


def test_a_missing_and_a_wrong_key(monkeypatch):
    monkeypatch.delenv("MP_API_KEY")
    monkeypatch.delenv("PMG_MAPI_KEY", raising=False)
    with pytest.raises(UsageError, match="wants a key"):
        ask(monkeypatch, "mp:SrTiO3")
    monkeypatch.setenv("MP_API_KEY", "wrong")
    with pytest.raises(InputError, match="does not accept the key"):
        ask(monkeypatch, "mp:SrTiO3")


@pytest.mark.parametrize("question", ["mp:Ba-O-Ti", f"optimade:HERE?{OPTIMADE}"])
def test_a_busy_server_is_asked_again_but_not_for_ever(monkeypatch, question):
    entries, asked = ask(monkeypatch, question, 429, 503)
    assert entries
    assert len(asked) >= 3
    with pytest.raises(InputError) as caught:
        ask(monkeypatch, question, *[429] * 50)
    assert "429" in caught.value.message


@pytest.mark.parametrize("question", ["mp:Ba-O-Ti", f"optimade:HERE?{OPTIMADE}"])
@pytest.mark.parametrize("wrong", ["elsewhere", "nonsense", 400])
def test_answers_that_are_none(monkeypatch, question, wrong):
    with pytest.raises(InputError) as caught:
        ask(monkeypatch, question, wrong)
    assert caught.value.hint


def test_too_large_an_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr(_http, "LARGEST_ANSWER", 100)
    with pytest.raises(InputError, match="too much"):
        ask(monkeypatch, "mp:Ba-O-Ti")


@pytest.mark.parametrize("drip", ["drip", "drip headers"])
def test_a_server_that_drips_holds_nobody(monkeypatch, drip):
    monkeypatch.setattr(_http, "LONGEST_QUESTION", 0.4)
    with database(drip) as (address, _):
        monkeypatch.setenv("MP_API_ENDPOINT", address)
        begun = time.monotonic()
        with pytest.raises(InputError, match=r"takes longer than 0\.4 s"):
            list(find_entries(["mp:Ba-O-Ti"]))
        assert time.monotonic() - begun < 2.5


def test_all_requests_of_a_question_share_one_deadline(monkeypatch):
    session = _http.bounded_session()
    with database() as (address, asked):
        late = time.monotonic() + _http.LONGEST_QUESTION
        clock = SimpleNamespace(monotonic=lambda: late, sleep=time.sleep)
        monkeypatch.setattr(_http, "time", clock)
        with pytest.raises(InputError, match="takes longer"):
            session().get(f"{address}/materials/summary/")
    assert len(asked) <= 1


def test_an_address_in_bytes_is_an_address():
    with database() as (address, asked), pytest.raises(InputError, match="404"):
        _http.bounded_session()().get(f"{address}/there".encode())
    assert asked[0][0] == "/there"


def test_an_error_without_words_is_still_one_error(monkeypatch):
    from optimade.client import OptimadeClient

    def silent(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(OptimadeClient, "get", silent)
    with pytest.raises(UsageError, match="cannot be used") as caught:
        ask(monkeypatch, f"optimade:HERE?{OPTIMADE}")
    assert caught.value.hint


def test_only_https_leaves_this_machine(monkeypatch):
    monkeypatch.setenv("MP_API_ENDPOINT", "http://materials.example")
    with pytest.raises(InputError, match="not an https address"):
        list(find_entries(["mp:SrTiO3"]))


def test_no_server_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("MP_API_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="cannot be used now"):
        list(find_entries(["mp:SrTiO3"]))


def test_nothing_found_is_said(monkeypatch):
    with pytest.raises(InputError, match="nothing for"):
        ask(monkeypatch, "mp:Xe-F")


def test_optimade_pages_and_limits(monkeypatch):
    everything, asked = ask(monkeypatch, f"optimade:HERE?{OPTIMADE}")
    assert [e.name for e in everything] == [m[0] for m in MATERIALS]
    assert len(asked) == 3
    assert asked[0][1]["filter"] == OPTIMADE
    few, asked = ask(monkeypatch, f"optimade:HERE?{OPTIMADE}&limit=3")
    assert [e.name for e in few] == [m[0] for m in MATERIALS[:3]]
    assert len(asked) == 2


def test_optimade_structures_are_crystals(monkeypatch):
    with database() as (address, _):
        parents = read_parents([f"optimade:{address}?{OPTIMADE}"]).parents
    assert [p.crystal.formula for p in parents] == ["SrTiO3", "BaTiO3", "BaZrO3", "CaTiO3", "KTaO3"]
    assert all(p.crystal.symmetry.space_group == 221 for p in parents)


def test_without_optimade_the_pip_command_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "optimade.client", None)
    with pytest.raises(MissingDependencyError) as caught:
        ask(monkeypatch, f"optimade:HERE?{OPTIMADE}")
    assert "cloudseed[optimade]" in caught.value.hint
