"""Exports and the report."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import contextmanager

import pytest

from cloudseed.lab_adapters import Outcome, OutcomeKind
from cloudseed.loop import Workspace, campaign, campaign_of, exporting, reporting
from tests.loop.labs import InstantLab, modulus
from tests.loop.small import features_of, spec_of


@pytest.fixture
def finished(campaign_on, ledger, tmp_path, monkeypatch) -> Workspace:
    """A finished campaign whose run folder is `tmp_path`."""
    monkeypatch.setattr(campaign, "POLL_INTERVAL", 0.001)

    def answer(request):
        if request.key.startswith("0"):
            return Outcome(OutcomeKind.INFEASIBLE, reason="=cmd|' /C calc'!A0")
        return modulus(request)

    with campaign_on(InstantLab(answer), spec_of(initial=6, seed=5)) as running:
        running.run()
    rows = ledger.candidates(1)
    ledger.put_embeddings("test-encoder", [r.scope for r in rows], features_of(rows))

    @contextmanager
    def reading(_):
        yield ledger

    for module in (exporting, reporting):
        monkeypatch.setattr(module, "reading", reading)
    return Workspace(tmp_path, "small", "")


def test_csv_has_a_row_per_experiment_with_units(finished, ledger):
    rows = list(csv.DictReader(io.StringIO(exporting.export_csv(finished))))
    assert len(rows) == len(ledger.experiments(1))
    measured = [r for r in rows if r["state"] == "measured"]
    assert len(measured) == 10
    assert all(float(r["bulk_modulus (GPa)"]) > 0 for r in measured)
    assert any(r["predicted bulk_modulus (GPa)"] for r in measured)


def test_text_cells_are_no_formulas(finished):
    for cell in ("=1+1", "@x", "-a", "+b", "\tc", "\rd", "\ne"):
        assert exporting._text(cell) == f"'{cell}"
    assert exporting._text("SrTiO3") == "SrTiO3"


def test_json_holds_structures_and_papers(finished):
    data = json.loads(exporting.export_json(finished))
    assert data["spec"]["name"] == "small"
    first = data["experiments"][0]
    assert {"cell", "papers", "measured", "scope", "key"} <= first.keys()
    assert first["papers"]["origins"]


def test_cifs_can_be_read_again(finished, tmp_path):
    from cloudseed.crystal import Crystal

    count = exporting.export_cifs(finished, tmp_path / "cifs")
    files = sorted((tmp_path / "cifs").glob("*.cif"))
    assert len(files) == count == 10
    assert Crystal.from_file(files[0]).formula in files[0].name


def test_report_shows_curve_random_table_and_winners(finished):
    path = reporting.write_report(finished, None)
    html = path.read_text()
    body = html[html.index("</script>") :]
    for words in ("Best so far", "random, expected", "this campaign", "What was found", "GPa"):
        assert words in body
    assert len(re.findall("<details>", body)) > 0
    assert "computed by a simulated lab (instant)" in body
    assert "http://" not in re.sub(r"http://www\.w3\.org\S*", "", body)


def test_report_escapes_what_labs_say(finished, ledger, monkeypatch):
    name = "<script>alert(1)</script>"
    row, spec = campaign_of(ledger, finished)
    monkeypatch.setattr(
        reporting,
        "campaign_of",
        lambda *_: (row, spec.model_copy(update={"description": name})),
    )
    assert name not in reporting.write_report(finished, None).read_text()


def test_results_write_winners_and_the_ranked_table(finished, tmp_path):
    reporting.write_results(finished)
    winners = sorted((tmp_path / "winners").glob("*.cif"))
    assert winners
    assert winners[0].name.startswith("01_")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "ranked.csv").read_text())))
    values = [float(r["bulk_modulus (GPa)"]) for r in rows if r["feasible"] == "true"]
    assert values == sorted(values, reverse=True)
