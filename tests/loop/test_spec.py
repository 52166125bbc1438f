"""The campaign file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cloudseed.errors import ObjectiveError, SpecError, UsageError
from cloudseed.loop import load_spec
from cloudseed.loop.spec import validate_spec

GOOD = {
    "name": "first",
    "parents": ["parents"],
    "objective": "max bulk_modulus",
    "constraints": ["formation_energy <= -2000 meV/atom"],
    "budget": {"experiments": 3, "wall_clock": "90 min"},
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(GOOD | changes))
    return path


def test_reads_values_units_and_durations(tmp_path):
    spec = load_spec(write(tmp_path))
    assert spec.problem.constraints[0].bound == pytest.approx(-2.0)
    assert spec.budget.wall_clock == 5400.0
    assert spec.parents == (str(tmp_path / "parents"),)


def test_lab_path_is_relative_to_the_file(tmp_path):
    spec = load_spec(write(tmp_path, lab={"adapter": "table", "config": {"path": "data.csv"}}))
    assert spec.lab.config["path"] == str(tmp_path / "data.csv")


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"objectve": "x"}, "'objectve' is unknown", "objective"),
        ({"budget": {"experiment": 3}}, "'budget.experiment' is unknown", "experiments"),
        ({"budget": {}}, "'budget.experiments' is missing", ""),
        ({"budget": {"experiments": 0}}, "greater than or equal to 1", "0"),
        ({"budget": {"experiments": 3, "wall_clock": "soon"}}, "a duration is", "soon"),
        ({"name": "a/b"}, "name", "a/b"),
        ({"parents": []}, "parents", ""),
        ({"ledger": "postgresql+psycopg://me:secret@host/db"}, "password", "PGPASSWORD"),
        ({"seed": "seven"}, "seed", "seven"),
        ({"decide": {"features": []}}, "at least one block", ""),
        ({"decide": {"features": ["elements", "elements"]}}, "each once", ""),
        ({"decide": {"features": ["element"]}}, "decide.features", "element"),
    ],
)
def test_refuses_with_one_sentence_and_a_hint(tmp_path, changes, message, hint):
    with pytest.raises(SpecError) as caught:
        load_spec(write(tmp_path, **changes))
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("objective", ["maximise bulk_modulus", "max", "max bulk modulus", ""])
def test_refuses_a_misspelt_objective(tmp_path, objective):
    with pytest.raises(ObjectiveError):
        load_spec(write(tmp_path, objective=objective))


def test_refuses_contradictory_constraints(tmp_path):
    constraints = ["formation_energy <= -2", "formation_energy >= -1"]
    with pytest.raises(ObjectiveError):
        load_spec(write(tmp_path, constraints=constraints))


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n", "\x00", "just words"])
def test_refuses_what_is_no_mapping(tmp_path, text):
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    with pytest.raises(SpecError):
        load_spec(path)


def test_yaml_cannot_run_code(tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text("name: !!python/object/apply:os.system ['touch owned']\n")
    with pytest.raises(SpecError):
        load_spec(path)
    assert not (tmp_path / "owned").exists()


def test_missing_file_hints_at_init(tmp_path):
    with pytest.raises(UsageError) as caught:
        load_spec(tmp_path / "none.yaml")
    assert "init" in caught.value.hint


def test_shipped_campaigns_are_valid():
    from importlib.resources import files

    root = Path(__file__).parents[2]
    starter = Path(str(files("cloudseed.loop"))) / "templates" / "starter" / "campaign.yaml"
    for path in (starter, root / "examples" / "stiff-perovskites" / "campaign.yaml"):
        assert load_spec(path).problem.objective.property == "bulk_modulus"


def test_several_proposers_filters_and_quotas(tmp_path):
    text = """
name: many
parents: [parents, prototypes, "mp:Sr-Ti-O?hull=0.05"]
objective: max bulk_modulus
budget: {experiments: 5}
proposers:
  - ionic_substitution
  - {name: partial_substitution, options: {cap: 12}, share: 0.3}
  - fixed_list: {path: more.csv}
filters:
  - charge_neutrality
  - new_composition: {list: known.csv}
quotas: {top: 500, per_system: 20, exploration: 0.1}
"""
    (tmp_path / "c.yaml").write_text(text)
    spec = load_spec(tmp_path / "c.yaml")
    assert spec.parents == (str(tmp_path / "parents"), "prototypes", "mp:Sr-Ti-O?hull=0.05")
    assert [p.name for p in spec.all_proposers] == [
        "ionic_substitution",
        "partial_substitution",
        "fixed_list",
    ]
    assert spec.proposers[2].options == {"path": str(tmp_path / "more.csv")}
    assert spec.filters[1].options == {"list": str(tmp_path / "known.csv")}
    assert validate_spec(spec.model_dump(mode="json"), "ledger") == spec


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        ("proposers: [{name: fixed_list, option: {}}]", "proposers.0.option", "'options'"),
        ("quotas: {per_sistem: 3}", "quotas.per_sistem", "'per_system'"),
        ("parents: []", "parents", "at least one"),
        ("proposers: [{fixed_list: {path: '-'}}]", "standard input", "propose"),
        ("disorder: guess", "disorder", ""),
    ],
)
def test_proposing_that_cannot_be_read(tmp_path, change, said, hint):
    lines = {"name": "x", "parents": "[a.cif]", "objective": "max bulk_modulus"}
    key, _, value = change.partition(": ")
    lines |= {"budget": "{experiments: 5}", key: value}
    (tmp_path / "c.yaml").write_text("\n".join(f"{k}: {v}" for k, v in lines.items()))
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "c.yaml")
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_a_proposer_beside_proposers_is_refused(tmp_path):
    spec = load_spec(write(tmp_path, proposers=["evolution"], proposer={"per_parent": 5}))
    assert spec.proposer.per_parent == 5
    other = write(tmp_path, proposers=["evolution"], proposer={"name": "similarity_substitution"})
    with pytest.raises(SpecError, match="say who proposes"):
        load_spec(other)


def test_how_experiments_are_chosen(tmp_path):
    asked = {"acquisition": "thompson", "beta": 2, "cost": {"base": 2, "elements": {"Rh": 5}}}
    decide = load_spec(write(tmp_path, decide=asked)).decide
    assert (decide.strategy.acquisition, decide.strategy.beta) == ("thompson", 2.0)
    assert decide.cost.of(["0 0 0 | 1a | Rh 1.0", "0 0 0 | 1a | Po 1.0"]).tolist() == [7.0, 2.0]
    assert load_spec(write(tmp_path)).decide.cost.of(["0 0 0 | 1a | Rh 1.0"]) is None


@pytest.mark.parametrize(
    ("decide", "message", "hint"),
    [
        ({"acquisition": "ucb"}, "decide.acquisition", "ucb"),
        ({"acquisition": "level_set"}, "finds all", "window"),
        ({"cost": {"elements": {"Rx": 3}}}, "no element Rx", ""),
        ({"cost": {"elements": {"Rh": -3}}}, "greater than or equal to 0", ""),
        ({"cost": {"base": 0}}, "greater than 0", ""),
        ({"cost": {"bases": 1}}, "'decide.cost.bases' is unknown", "base"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused(tmp_path, decide, message, hint):
    with pytest.raises(SpecError) as caught:
        load_spec(write(tmp_path, decide=decide))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_acquisition_of_an_optimum_is_refused_where_all_is_to_be_found(tmp_path):
    asked = {"objective": "band_gap in [1, 2]", "decide": {"acquisition": "upper_confidence_bound"}}
    with pytest.raises(SpecError, match="needs an optimum") as caught:
        load_spec(write(tmp_path, **asked))
    assert "level_set" in caught.value.hint


def test_a_misspelt_key_of_a_section_that_may_be_left_out_names_the_nearest(tmp_path):
    with pytest.raises(SpecError) as caught:
        load_spec(write(tmp_path, stop={"regret": {"epsilonn": 1}}))
    assert "epsilon" in caught.value.hint


def test_models_can_be_chosen(tmp_path):
    chosen = {"kind": "gp", "kinds": {"bulk_modulus": "robust"}, "prior": "none"}
    spec = load_spec(write(tmp_path, surrogate=chosen))
    assert spec.surrogate.settings.of("bulk_modulus") == "robust"
    assert spec.surrogate.settings.of("formation_energy") == "gp"
    for wrong in (
        {"kind": "svm"},
        {"kinds": {"hardness": "gp"}},
        {"heads": {"hardness": "volume"}},
    ):
        with pytest.raises(SpecError, match="surrogate"):
            load_spec(write(tmp_path, surrogate=wrong))
