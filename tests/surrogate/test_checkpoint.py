import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cloudseed.errors import EncoderError
from cloudseed.surrogate.checkpoint import open_checkpoint, seal
from cloudseed.surrogate.encoder import CloudEncoder
from tests.surrogate import hub
from tests.surrogate.checkpoints import write_published

REPOSITORY = "ChangwenXu/CLOUD"


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("checkpoints") / "tiny", layers=2, hidden=64)


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


@pytest.fixture(scope="module")
def repository(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the published one: the checkpoint in a folder, beside it a pickle that nobody needs."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(tiny, folder / "ckpt")
    (folder / "ckpt" / "training_args.bin").write_bytes(b"\x80\x04.")
    (folder / "README.md").write_text("# CLOUD\n")
    return folder


def flip(path: Path) -> None:
    """Changes one bit of a weight, which leaves the file readable."""
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.unlink()
    path.write_bytes(content)


def load(address: str, home: Path, *options: str, offline: str = "0") -> tuple[int, str]:
    """Loads the repository in a process of its own: the hub's client reads its address once."""
    code = (
        "import json\n"
        "from cloudseed.surrogate.encoder import CloudEncoder\n"
        "from cloudseed.errors import EncoderError\n"
        "try:\n"
        f"    e = CloudEncoder.load({REPOSITORY!r}, {', '.join(options)})\n"
        "    print(json.dumps([e.id, e.sha256, e.revision, e.name]))\n"
        "except EncoderError as error:\n"
        "    print(error.message)\n"
        "    raise SystemExit(3)\n"
    )
    settings = {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": offline,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode in {0, 3}, run.stderr
    return run.returncode, run.stdout.strip()


def test_hub(tiny: Path, repository: Path, tmp_path: Path) -> None:
    """Fetched once by revision, then read from the cache; a changed cache is refused."""
    home = tmp_path / "home"
    with hub.serve(repository, REPOSITORY) as (address, asked):
        code, said = load(address, home, "revision='v1'")
        assert code == 0
        weights = sha(tiny / "model.safetensors")
        assert json.loads(said) == [CloudEncoder.load(tiny).id, weights, hub.COMMIT, REPOSITORY]
        assert not any("training_args" in line for line in asked)
        asked.clear()
        assert load(address, home, f"revision='{hub.COMMIT}'", "offline=True") == (0, said)
        assert load(address, home, f"revision='{hub.COMMIT}'", offline="1") == (0, said)
        assert asked == []
        code, told = load(address, home, "revision='v2'")
        assert (code, told) == (3, f"{REPOSITORY} has no revision 'v2' on the Hugging Face hub.")
    code, told = load("http://127.0.0.1:9", tmp_path / "other")
    assert (code, told) == (3, f"{REPOSITORY} cannot be fetched from the Hugging Face hub.")
    (blob,) = (p for p in home.rglob("blobs/*") if p.name == weights)
    flip(blob)
    code, told = load("http://127.0.0.1:9", home, f"revision='{hub.COMMIT}'", "offline=True")
    assert code == 3
    assert "were changed" in told


def test_hub_that_does_not_know_the_repository(repository: Path, tmp_path: Path) -> None:
    with hub.serve(repository, "somebody/else") as (address, _):
        code, told = load(address, tmp_path)
    assert code == 3
    assert told == f"There is no public repository {REPOSITORY} on the Hugging Face hub."


def test_a_copy_of_the_published_repository(tiny: Path, repository: Path) -> None:
    assert CloudEncoder.load(repository).id == CloudEncoder.load(tiny).id


def test_sha_is_recorded(tiny: Path) -> None:
    encoder = CloudEncoder.load(tiny)
    assert encoder.sha256 == sha(tiny / "model.safetensors")
    assert encoder.revision is None


def test_sealed_weights_may_not_change(copy: Path) -> None:
    before = CloudEncoder.load(copy).id
    assert seal(copy) == sha(copy / "model.safetensors")
    assert CloudEncoder.load(copy).id == before
    flip(copy / "model.safetensors")
    with pytest.raises(EncoderError, match=r"were changed.*config\.json declares") as caught:
        open_checkpoint(copy)
    assert caught.value.data["sha256"] == sha(copy / "model.safetensors")


def test_the_caller_may_pin_the_weights(tiny: Path) -> None:
    right = sha(tiny / "model.safetensors")
    assert open_checkpoint(tiny, sha256=right.upper()).sha256 == right
    with pytest.raises(EncoderError, match="the caller expects"):
        open_checkpoint(tiny, sha256="0" * 64)


def test_rows_that_no_token_uses(tmp_path: Path) -> None:
    """The published model has BERT's 30,522 rows for 564 tokens; no other surplus is taken."""
    folder = write_published(tmp_path / "wide", layers=1, hidden=64, rows=30_522)
    assert CloudEncoder.load(folder).dimension == 64
    other = write_published(tmp_path / "other", layers=1, hidden=64, rows=600)
    with pytest.raises(EncoderError, match="564 tokens in its vocabulary, but a model of 600"):
        CloudEncoder.load(other)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_act": "sine"},
        {"position_embedding_type": "relative_key"},
        {"num_attention_heads": 0},
        {"layer_norm_eps": "small"},
        {"cloudseed": 7},
    ],
    ids=str,
)
def test_strange_configurations(copy: Path, change: dict[str, object]) -> None:
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EncoderError) as caught:
        CloudEncoder.load(copy)
    assert caught.value.hint
