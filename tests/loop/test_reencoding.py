"""A campaign that goes on with another encoder, such as one that learned from it."""

from __future__ import annotations

import hashlib
import json

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from cloudseed.cli import training
from cloudseed.errors import CampaignRunningError, EmptyPoolError, EncoderError, UsageError
from cloudseed.loop import campaign as module
from cloudseed.loop import campaign_of, create_campaign, load_spec, open_campaign
from cloudseed.loop.encoders import in_force
from cloudseed.loop.reencoding import change_encoder, write_labels
from cloudseed.loop.replaying import Replayer
from cloudseed.loop.reporting import write_report
from cloudseed.loop.workspace import reading
from tests.cli.test_encoder import SHAPE, run
from tests.loop.test_goals import written  # noqa: F401  a fixture
from tests.surrogate.checkpoints import write_published
from tests.surrogate.prediction.kit import copy_of_shipped
from tests.surrogate.training.kit import labels, table


@pytest.fixture
def changed(tmp_path):
    """The shipped encoder with other weights, and without heads."""
    folder = copy_of_shipped(tmp_path / "other")
    path, config = folder / "model.safetensors", folder / "config.json"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    weights = load_file(path)
    name = sorted(weights)[0]
    save_file(weights | {name: weights[name] * 1.5}, path)
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    config.write_text(config.read_text().replace(before, after))
    return folder


def begun(path, folder, measured):
    """Runs a campaign until so much is measured."""
    workspace = create_campaign(load_spec(path), folder, lambda _: None)
    with open_campaign(workspace, lambda _: None) as campaign:
        if measured:
            campaign.run(stopping=lambda: campaign.snapshot().measured >= measured)
    return workspace


@pytest.mark.slow
def test_it_goes_on_with_another_encoder(written, changed, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    path = written(objective="max band_gap", budget={"experiments": 10}, initial=4, batch=2)
    workspace = begun(path, tmp_path / "run", 6)

    assert change_encoder(workspace, str(changed))
    assert not change_encoder(workspace, str(changed))
    with reading(workspace) as ledger:
        row, spec = campaign_of(ledger, workspace)
        assert spec.encoder == "cloud-small"
        assert in_force(ledger, row, spec).encoder == str(changed)
        before = ledger.decisions(row.id)[-1].encoder_id
        assert in_force(ledger, row, spec, before).encoder == "cloud-small"
    with open_campaign(workspace, lambda _: None) as campaign:
        with pytest.raises(CampaignRunningError):
            change_encoder(workspace, "cloud-small")
        end = campaign.run()
    assert end.measured == 10
    with reading(workspace) as ledger:
        decisions = ledger.decisions(row.id)
        assert len(dict.fromkeys(d.encoder_id for d in decisions)) == 2
        assert decisions[-1].encoder_id == ledger.encoder_changes(row.id)[-1][1] != before
        replayer = Replayer(ledger, row, spec)
        for decision in (decisions[0], decisions[-1]):
            assert not replayer.replay(decision).differences
    html = write_report(workspace, None).read_text()
    assert str(changed) in html

    # What was measured teaches a tiny encoder, beside a table of its own.
    assert write_labels(workspace, tmp_path / "labels.csv") == ("band_gap",)
    told = pd.read_csv(tmp_path / "labels.csv")
    assert len(told) == 10
    assert sorted(told["band_gap"]) == sorted(r.value("band_gap") for r in end.results)
    source = table(tmp_path / "strings.csv", gap=labels())
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("batch: 32\nvalidate_every: 2\nwarmup: 1\n")
    options = ["--recipe", recipe, "--threads", "1", "--json", "--steps", "2"]
    run("encoder", "pretrain", source, "--out", tmp_path / "tiny", *SHAPE, *options)
    ended = json.loads(
        run(
            *("encoder", "finetune", tmp_path / "tiny", source, "--label", "band_gap=gap"),
            *("--campaign", workspace.path, "--out", tmp_path / "taught", *options),
        )
    )
    assert ended["step"] == 2
    assert list(pd.read_csv(tmp_path / "taught" / "data" / "campaign.csv")) == ["scope", "gap"]
    card = json.loads(run("encoder", "card", tmp_path / "taught", "--json"))
    assert card["training"]["labels"] == ["band_gap"]


def test_what_cannot_take_over_is_refused(written, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(module, "POLL_INTERVAL", 0.001)
    workspace = begun(written(objective="max band_gap"), tmp_path / "run", 0)
    published = write_published(tmp_path / "published", layers=1, hidden=64)
    with pytest.raises(EncoderError):
        change_encoder(workspace, str(published / "nothing"))
    with pytest.raises(EmptyPoolError, match="nothing to learn from"):
        write_labels(workspace, tmp_path / "labels.csv")
    with reading(workspace) as ledger:
        assert ledger.encoder_changes(1) == []


def test_a_finetuning_needs_something_to_learn_from(tmp_path):
    with pytest.raises(UsageError, match="nothing to learn from"):
        training._tables([], {}, None, tmp_path)
    with pytest.raises(UsageError, match="nothing to learn from"):
        training._tables([tmp_path / "a.csv"], {}, None, tmp_path)
