import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cloudseed.errors import EncoderError, ScopeError
from cloudseed.surrogate.encoder import CloudEncoder, shipped_encoders
from cloudseed.surrogate.protocols import Encoder
from cloudseed.surrogate.scope import ELEMENTS
from tests.surrogate.checkpoints import write_published

HEAD = "1 4 b O O O c O O O d O O O e O O O 0"
STRINGS = [
    f"{HEAD} | 1a 1b 3c | Sr 0.2 Ti 0.2 O 0.6",
    f"{HEAD} | 1a Sr 1b Ti 3c O | Sr 0.2 Ti 0.2 O 0.6",
    f"{HEAD} | 1a 1b | Cs 0.5 Cl 0.5",
    "0 0 0 | 1a | Li 0.25 Mn 0.25 O 0.5",
    f"{HEAD} | 1a Ti 1b Sr 3c O | Ti 0.2 Sr 0.2 O 0.6",
]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layout and size of the published one: 12 layers, 768 wide, 30,522 rows for 564 tokens."""
    return write_published(tmp_path_factory.mktemp("checkpoints") / "cloud", rows=30_522)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    return write_published(folder, layers=2, hidden=64, prefix="")


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def change(path: Path, **values: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | values))


def test_shipped_encoder() -> None:
    encoder = CloudEncoder.load()
    embeddings = encoder.embed(STRINGS)
    assert isinstance(encoder, Encoder)
    assert embeddings.shape == (len(STRINGS), encoder.dimension)
    assert embeddings.dtype == np.float32
    assert encoder.name == "cloud-small"
    distances = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=-1)
    assert distances[np.triu_indices(len(STRINGS), 1)].min() > 0.1


def test_shipped_encoder_is_small_and_documented() -> None:
    for folder in shipped_encoders().values():
        assert (folder / "model.safetensors").stat().st_size < 15e6
        assert (folder / "README.md").read_text().startswith("# ")


def test_shipped_encoder_reads_every_element_and_group() -> None:
    from cloudseed.surrogate.scope import generators

    strings = [f"0 0 0 | 1a | {element} 1.0" for element in ELEMENTS]
    from cloudseed.crystal import multiplicities

    for group, text in generators().items():
        letter, multiplicity = next(iter(multiplicities(group).items()))
        strings.append(f"{' '.join(text)} | {multiplicity}{letter} | Fe 1.0")
    assert np.isfinite(CloudEncoder.load().embed(strings)).all()


def test_published_layout(published: Path) -> None:
    encoder = CloudEncoder.load(published)
    assert (encoder.dimension, encoder.dialect, encoder.pooling) == (768, "cloud", "cls")
    ours = encoder.embed(STRINGS[:1])
    from transformers import BertModel, BertTokenizer

    tokens = BertTokenizer.from_pretrained(published)(STRINGS[:1], return_tensors="pt")
    model = BertModel.from_pretrained(published, add_pooling_layer=False).eval()
    with torch.inference_mode():
        reference = model(**tokens).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(ours, reference, atol=1e-5)


def test_an_embedding_does_not_depend_on_its_company(tiny: Path) -> None:
    encoder = CloudEncoder.load(tiny)
    together = encoder.embed([*STRINGS, *STRINGS[::-1]])
    alone = np.vstack([encoder.embed([string]) for string in STRINGS])
    np.testing.assert_allclose(together[: len(STRINGS)], alone, atol=1e-5)
    np.testing.assert_array_equal(together[len(STRINGS) :], together[: len(STRINGS)][::-1])


def test_nothing_to_embed(tiny: Path) -> None:
    assert CloudEncoder.load(tiny).embed([]).shape == (0, 64)


def test_progress_counts_different_strings(tiny: Path) -> None:
    told: list[tuple[int, int]] = []
    CloudEncoder.load(tiny).embed([*STRINGS, *STRINGS], progress=lambda *x: told.append(x))
    assert told[-1] == (len(STRINGS), len(STRINGS))
    assert told == sorted(told)


def test_mean_pooling(tiny: Path) -> None:
    first, second = (CloudEncoder.load(tiny, pooling=p) for p in ("cls", "mean"))
    assert not np.allclose(first.embed(STRINGS), second.embed(STRINGS))
    assert first.id != second.id


@pytest.mark.parametrize("string", ["", float("nan"), "0 0 0 | 1a | Xx 1.0"])
def test_bad_strings(tiny: Path, string: str) -> None:
    with pytest.raises(ScopeError):
        CloudEncoder.load(tiny).embed([STRINGS[0], string])


def test_too_long(tiny: Path) -> None:
    sites = "1a 1b 1c 1d 1e 1f 1g 1h 2i 2j 2k 2l 2m 2n 2o 2p 2q 2r 2s 2t 4u"
    names = [
        "Li",
        "Na",
        "K",
        "Rb",
        "Cs",
        "Be",
        "Mg",
        "Ca",
        "Sr",
        "Ba",
        "Al",
        "Ga",
        "In",
        "Si",
        "Ge",
        "Sn",
        "Pb",
        "O",
        "S",
    ]
    string = f"0 2 b O O O c O O O 0 | {sites} | {' '.join(f'{e} 0.05' for e in names)}"
    with pytest.raises(ScopeError):
        CloudEncoder.load(tiny).embed([string])


def test_id_tells_checkpoints_apart(copy: Path) -> None:
    ids = [CloudEncoder.load(copy).id]
    weights = load_file(copy / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][7, 0] += 1e-3
    save_file(weights, copy / "model.safetensors")
    ids.append(CloudEncoder.load(copy).id)
    change(copy / "config.json", cloudseed={"dialect": "canonical"})
    ids.append(CloudEncoder.load(copy).id)
    change(copy / "config.json", layer_norm_eps=1e-5)
    ids.append(CloudEncoder.load(copy).id)
    assert len(set(ids)) == 4


def test_id_keeps_across_copies(tiny: Path, copy: Path) -> None:
    change(copy / "config.json", transformers_version="9.9", _name_or_path="elsewhere")
    assert CloudEncoder.load(copy).id == CloudEncoder.load(tiny).id


def test_half_precision_is_computed_in_single(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    save_file({k: v.half() for k, v in weights.items()}, copy / "model.safetensors")
    assert CloudEncoder.load(copy).embed(STRINGS).dtype == np.float32


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def garble(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)


def drop_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, folder / "model.safetensors")


def add_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"encoder.layer.2.extra": torch.zeros(1)}, folder / "model.safetensors")


def poison(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][3, 3] = float("nan")
    save_file(weights, folder / "model.safetensors")


def widen(folder: Path) -> None:
    change(folder / "config.json", hidden_size=128)


def swell(folder: Path) -> None:
    change(folder / "config.json", hidden_size=64 * 10**6, intermediate_size=10**9)


def misshape(folder: Path) -> None:
    change(folder / "config.json", num_attention_heads=7)


def other_kind(folder: Path) -> None:
    change(folder / "config.json", model_type="gpt2")


def no_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def other_vocabulary(folder: Path) -> None:
    path = folder / "added_tokens.json"
    content = json.loads(path.read_text())
    content.pop("1.0")
    path.write_text(json.dumps(content))


def other_dialect(folder: Path) -> None:
    change(folder / "config.json", cloudseed={"dialect": "klingon"})


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        add_tensor,
        cut,
        drop_tensor,
        garble,
        misshape,
        no_config,
        no_weights,
        other_dialect,
        other_kind,
        other_vocabulary,
        pickled,
        poison,
        swell,
        widen,
    ],
    ids=lambda f: f.__name__,
)
def test_spoilt_checkpoints(copy: Path, spoil: object) -> None:
    spoil(copy)  # type: ignore[operator]
    with pytest.raises(EncoderError) as caught:
        CloudEncoder.load(copy)
    assert caught.value.hint or spoil is other_kind


def test_a_pickle_is_refused(copy: Path) -> None:
    pickled(copy)
    with pytest.raises(EncoderError, match="pickle") as caught:
        CloudEncoder.load(copy)
    assert "save_file" in caught.value.hint


def test_the_forward_pass_is_that_of_transformers(tiny: Path) -> None:
    from transformers import BertModel

    encoder = CloudEncoder.load(tiny, pooling="mean")
    model = BertModel.from_pretrained(tiny, add_pooling_layer=False).eval()
    tokens = encoder._tokenizer.encode(STRINGS)
    for row, vector in zip(tokens, encoder.embed(STRINGS), strict=True):
        with torch.inference_mode():
            states = model(input_ids=torch.tensor([row])).last_hidden_state
        np.testing.assert_allclose(vector, states[0].mean(dim=0).numpy(), atol=2e-6)


def test_threads_change_no_bit(tiny: Path) -> None:
    strings = [f"0 0 0 | 1a | {element} 1.0" for element in ELEMENTS[:90]] * 2 + STRINGS
    before = torch.get_num_threads()
    one, three = (CloudEncoder.load(tiny, threads=n).embed(strings) for n in (1, 3))
    np.testing.assert_array_equal(one, three)
    assert torch.get_num_threads() == before


def test_reduced_precision(tiny: Path) -> None:
    single = CloudEncoder.load(tiny)
    for precision in ("int8", "bfloat16"):
        encoder = CloudEncoder.load(tiny, precision=precision)
        a, b = encoder.embed(STRINGS), single.embed(STRINGS)
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosine.min() > 0.999
        assert not np.array_equal(a, b)
        assert encoder.id != single.id


def test_precision_that_bends_embeddings_is_refused(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudseed.surrogate.encoder.LEAST_COSINE", 1.0)
    with pytest.raises(EncoderError, match="int8 is off"):
        CloudEncoder.load(tiny, precision="int8")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_such_device(tiny: Path) -> None:
    for device in ("cuda", "abacus"):
        with pytest.raises(EncoderError, match="no device"):
            CloudEncoder.load(tiny, device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_gives_the_same(tiny: Path) -> None:
    ours = CloudEncoder.load(tiny, device="cuda").embed(STRINGS)
    np.testing.assert_allclose(
        ours, CloudEncoder.load(tiny, device="cpu").embed(STRINGS), atol=1e-4
    )


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(EncoderError) as caught:
        CloudEncoder.load("cloud-smal")
    assert "'cloud-small'" in caught.value.hint
    for source in (tmp_path / "nowhere", "nowhere", "model.pt", "a/b/c"):
        with pytest.raises(EncoderError):
            CloudEncoder.load(source)


def test_hub_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderError) as caught:
        CloudEncoder.load("nobody/nothing", offline=True)
    assert "cloud-small" in caught.value.hint
    assert caught.value.data["source"] == "nobody/nothing"


def test_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(source: str, **options: object) -> str:
        raise ConnectionError(f"no route to {source}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(EncoderError, match="owner/cloud") as caught:
        CloudEncoder.load("owner/cloud")
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert "cloud-small" in caught.value.hint


def test_hub_passes_the_revision(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    asked: dict[str, object] = {}

    def snapshot(source: str, **options: object) -> str:
        asked.update(options, source=source)
        return str(tiny)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    encoder = CloudEncoder.load("owner/cloud", revision="abc", offline=True)
    assert encoder.name == "owner/cloud"
    assert (asked["source"], asked["revision"]) == ("owner/cloud", "abc")
    assert asked["local_files_only"] is True


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, cloudseed.surrogate.encoder, cloudseed.surrogate.scope;"
        "print([m for m in ('torch', 'transformers', 'pymatgen.core') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert run.stdout.strip() == "[]"
