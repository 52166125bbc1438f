"""The campaign file: what an owner writes, checked before anything runs."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cloudseed._elements import SYMBOLS
from cloudseed.crystal import SYMPREC, Disorder
from cloudseed.errors import ObjectiveError, SpecError
from cloudseed.lab_adapters import settings_beside
from cloudseed.loop.amounts import parse_amount
from cloudseed.loop.safety import SafetySpec
from cloudseed.loop.shelves import RecipesSpec, with_shelves
from cloudseed.proposers import is_path
from cloudseed.surrogate import (
    ALARM_LEAST,
    BLOCKS,
    RECALIBRATION_LEAST,
    AcquisitionName,
    ModelKind,
    ModelSettings,
    Problem,
    Strategy,
    experiment_costs,
    parse_problem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = [
    "BudgetSpec",
    "CampaignSpec",
    "CostSpec",
    "DecideSpec",
    "ElementsSpec",
    "FilterChoice",
    "LabSpec",
    "ProposerChoice",
    "ProposerSpec",
    "QuotasSpec",
    "StopSpec",
    "SurrogateSpec",
    "load_spec",
]

_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(s|sec|min|h|d)?\s*")
_SECONDS = {None: 1.0, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_LARGEST_FILE = 1_000_000
_PATHS = frozenset({"path", "list", "entries"})
_PARENTS_OPTIONAL = "parents_optional"


def _seconds(value: object) -> object:
    """Turns "90 min" into 5400.0; numbers are seconds already."""
    if isinstance(value, str):
        found = _DURATION.fullmatch(value)
        if found is None:
            raise ValueError("a duration is a number with s, min, h or d, such as '90 min'")
        return float(found[1]) * _SECONDS[found[2]]
    return value


def _together(value: object) -> object:
    """Turns a list of objectives into one text."""
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
        return "; ".join(value)
    return value


def _amount(value: object) -> str:
    """Writes "500  EUR" in one way; a bare number has no unit."""
    return str(parse_amount(value))


AmountText = Annotated[str, BeforeValidator(_amount)]
Duration = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ElementsSpec(_Section):
    """Which elements candidates may hold.

    Attributes:
        allow: Only these; None for all that are neither forbidden nor radioactive.
        forbid: Never these.
    """

    allow: tuple[str, ...] | None = None
    forbid: tuple[str, ...] = ()


class ProposerSpec(_Section):
    """Where candidates come from.

    Attributes:
        name: Entry point in the group `cloudseed.proposers`.
        per_parent: Raw children to look at per parent.
        keep_parents: Whether the parents are candidates too.
    """

    name: str = "ionic_substitution"
    per_parent: int = Field(default=2000, ge=1, le=1_000_000)
    keep_parents: bool = True


def _named(value: object) -> object:
    """Turns "name" into {"name": "name"} and {"name": {...}} into a name with options."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1 and "name" not in value:
        ((name, options),) = value.items()
        return {"name": name, "options": {} if options is None else options}
    return value


class ProposerChoice(_Section):
    """One of several proposers.

    Attributes:
        name: Entry point in the group `cloudseed.proposers`.
        options: Its own settings.
        share: Largest share of the candidates that may be its own; None for an even share.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    share: float | None = Field(default=None, ge=0, le=1)


class FilterChoice(_Section):
    """A filter.

    Attributes:
        name: For instance "perovskite_tolerance".
        options: Its own settings; files are relative to the campaign file.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class QuotasSpec(_Section):
    """How much of the pool may come from where.

    Attributes:
        top: Candidates in the pool; None for all that pass.
        per_parent: Most of one parent.
        per_system: Most of one chemical system.
        parents: Most parents that candidates come from.
        exploration: Share of the pool that is drawn at random instead of likeliest first.
    """

    top: int | None = Field(default=None, ge=1)
    per_parent: int | None = Field(default=None, ge=1)
    per_system: int | None = Field(default=None, ge=1)
    parents: int | None = Field(default=None, ge=1)
    exploration: float = Field(default=0.0, ge=0, le=1)


class LabSpec(_Section):
    """Where candidates are made and measured.

    Attributes:
        adapter: Entry point in the group `cloudseed.lab_adapters`.
        config: The adapter's own settings; a `path` is relative to the campaign file.
        name: What the campaign calls it; by default the name that the lab gives itself. Two labs
            of one adapter need names.
        costs: What one experiment may cost there, by resource: `money: 12 EUR`,
            `instrument_time: 2 h`, or a consumable's name.
        in_flight: Experiments that run there at the same time; None for as many as it takes.
        fidelity: "dear" where its values are what counts, "cheap" where they only hint at it; None
            where all labs measure alike.
        recipes: That requests carry a recipe, from which shelf and for how much; None for none.
    """

    adapter: str = "mlip"
    config: dict[str, Any] = Field(default_factory=dict)
    name: str = Field(default="", pattern=f"{_NAME}|^$")
    costs: dict[str, AmountText] = Field(default_factory=dict)
    in_flight: int | None = Field(default=None, ge=1)
    fidelity: Literal["cheap", "dear"] | None = None
    recipes: RecipesSpec | None = None


class CostSpec(_Section):
    """What an experiment costs, in any one unit.

    Attributes:
        base: What each costs.
        elements: What an element adds wherever a candidate holds it.
    """

    base: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    elements: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict
    )

    @field_validator("elements")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(value) - set(SYMBOLS))
        if unknown:
            raise ValueError(f"there is no element {', '.join(unknown)}")
        return value

    def of(self, strings: Sequence[str]) -> npt.NDArray[np.float64] | None:
        """Returns the cost of each candidate, by its SCOPE string; None where all cost the same."""
        return experiment_costs(strings, self.base, self.elements) if self.elements else None


class DecideSpec(_Section):
    """How experiments are chosen.

    Attributes:
        acquisition: What values a candidate; "auto" for the expected improvement of an optimum or
            a target, and the probability of a hit where all is to be found.
        beta: Of the upper confidence bound, mean + sqrt(beta) * standard deviation.
        cost: What an experiment costs: candidates are valued per cost.
        exploration: Share of each batch that is chosen to stand for the rest of the pool instead of
            by the model, on average.
        alarm: Predictions looked back on: where the model ordered the last so many results worse
            than chance would, half of the next batch explores. 0 for never.
        features: What the models see of a candidate: the "embedding" of its SCOPE string, and what
            the periodic table says of its "elements". The first decides what is near to what.
        recalibrate: Predictions looked back on: where the last so many values of a property came
            inside their 90 % intervals too seldom or too often, the next standard
            deviations are mended. 0 for never.
    """

    acquisition: AcquisitionName = "auto"
    beta: float = Field(default=4.0, ge=0, allow_inf_nan=False)
    cost: CostSpec = CostSpec()
    exploration: float = Field(default=0.0, ge=0, le=1)
    alarm: int = Field(default=20, ge=0)
    recalibrate: int = Field(default=100, ge=0)
    features: tuple[Literal["embedding", "elements"], ...] = BLOCKS

    @property
    def strategy(self) -> Strategy:
        """By which acquisition the models choose."""
        return Strategy(self.acquisition, self.beta)

    @field_validator("alarm", "recalibrate")
    @classmethod
    def _enough(cls, value: int, info: ValidationInfo) -> int:
        least = ALARM_LEAST if info.field_name == "alarm" else RECALIBRATION_LEAST
        if 0 < value < least:
            raise ValueError(f"of fewer than {least} predictions nothing can be told")
        return value

    @field_validator("features")
    @classmethod
    def _different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("name at least one block, and each once")
        return value


class SurrogateSpec(_Section):
    """What models the properties.

    Attributes:
        kind: "auto" for what predicts the data at hand best; "gp", "robust" or "variational".
        kinds: The same for single properties.
        prior: Whether predictions by the encoder's own heads are the prior mean of what they
            predict and lead the first experiments: "heads" or "none".
        heads: Property -> head, for properties that a head of another name predicts.
    """

    kind: ModelKind = "auto"
    kinds: dict[str, ModelKind] = Field(default_factory=dict)
    prior: Literal["heads", "none"] = "heads"
    heads: dict[str, str] = Field(default_factory=dict)

    @property
    def settings(self) -> ModelSettings:
        """What the models are asked for."""
        return ModelSettings(self.kind, self.kinds)


class BudgetSpec(_Section):
    """What may be spent.

    Attributes:
        experiments: Measured experiments; infeasible, refused and failed ones count apart.
        unsuccessful: Experiments that may end without a measurement before the campaign gives up.
        wall_clock: Seconds since the campaign began, or a text such as "2 h".
        money: For instance "500 EUR". What labs cost is given with each lab.
        instrument_time: For instance "40 h".
        consumables: By name, for instance `TiO2: 20 g`.
    """

    experiments: int = Field(ge=1)
    unsuccessful: int = Field(default=50, ge=0)
    wall_clock: Duration | None = None
    money: AmountText | None = None
    instrument_time: AmountText | None = None
    consumables: dict[str, AmountText] = Field(default_factory=dict)


class ExpectedHitsSpec(_Section):
    """Stop once little more is expected to be found.

    Attributes:
        below: So many hits.
        next: In so many experiments.
    """

    below: float = Field(gt=0)
    next: int = Field(default=10, ge=1)


class RegretSpec(_Section):
    """Stop once the best is probably found.

    Attributes:
        epsilon: How much better than the best so far another may be, in the objective's unit.
        probability: That no candidate is better by more than that.
    """

    epsilon: float = Field(ge=0)
    probability: float = Field(default=0.95, gt=0, lt=1)


class StopSpec(_Section):
    """When to stop before the budget is spent.

    Attributes:
        target: Stop once a feasible material reaches this value of the objective, or this distance
            from its target, or once so many materials are found, or a front has this hypervolume.
        no_improvement_rounds: Stop after so many decisions in a row without a better one, or
            without another hit or member of the front.
        expected_hits: Stop once fewer hits are expected; where all that meets the constraints is to
            be found.
        regret: Stop once the best so far is probably within reach of the pool's best; for an
            optimum or a target.
    """

    target: float | None = None
    no_improvement_rounds: int | None = Field(default=None, ge=1)
    expected_hits: ExpectedHitsSpec | None = None
    regret: RegretSpec | None = None


_Named = TypeVar("_Named", ProposerChoice, FilterChoice)


class CampaignSpec(_Section):
    """A campaign.

    Attributes:
        name: Letters, digits, dots, hyphens and underscores.
        description: For people.
        parents: Files, folders or patterns of parent crystals, relative to the campaign file;
            "prototypes", "mp:..." or "optimade:...". May be empty if every proposer does without.
        disorder: What is done with parents' partly occupied sites: "refuse" or "majority".
        skip_bad: Whether parents that cannot be used are left out.
        symprec: Tolerance of every symmetry search, in angstrom.
        objective: For instance "max bulk_modulus", "band_gap = 1.4 eV" for a target, "band_gap in
            [1.5, 3.0] eV" for all materials in a window, "find lowest 1 % formation_energy", or
            "find all" that meet the constraints. A list of several optima seeks their front.
        derived: Name -> formula of properties that are computed from measured ones, such as
            "shear_modulus / bulk_modulus"; they may be sought and bounded like any other.
        reference: Property -> value, of each objective of several, that is just not worth having;
            the front's hypervolume counts from there.
        constraints: For instance "formation_energy <= -2.0 eV/atom".
        elements: Which elements may be used.
        proposer: Where candidates come from.
        proposers: Several of them, in place of the one that `proposer` names.
        filters: Which filters judge candidates besides the elements.
        quotas: How much of the pool may come from where.
        lab: Where they are made.
        labs: Several labs, in place of the one that `lab` names. Each experiment goes to the
            cheapest that can do it and has room.
        encoder: A shipped name, a folder or a hub id.
        budget: What may be spent.
        stop: When to stop before that.
        safety: What may go to labs that are not simulated; closed by default.
        decide: How experiments are chosen.
        surrogate: What models the properties.
        batch: Experiments chosen per decision.
        initial: Experiments chosen for coverage before a model chooses.
        regrow: New measurements after which proposers that learn from them are asked again, such as
            `evolution`; None for twice `batch`.
        in_flight: Experiments that run at the same time.
        attempts: How often an experiment whose instrument failed is tried in all.
        step_deadline: Seconds, or a text such as "2 h", after which a step of the engine counts as
            hung; its lease then ends, and `cloudseed worker` starts anew.
        seed: Seed of all randomness.
        ledger: Database URL; None for SQLite in the run folder. Never with a password.
    """

    name: str = Field(pattern=_NAME)
    description: str = ""
    parents: tuple[str, ...] = ()
    disorder: Disorder = "refuse"
    skip_bad: bool = False
    symprec: float = Field(default=SYMPREC, ge=1e-6, le=0.5)
    objective: Annotated[str, BeforeValidator(_together)]
    derived: dict[str, str] = Field(default_factory=dict)
    reference: dict[str, str | float] = Field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    elements: ElementsSpec = ElementsSpec()
    proposer: ProposerSpec = ProposerSpec()
    proposers: tuple[Annotated[ProposerChoice, BeforeValidator(_named)], ...] = ()
    filters: tuple[Annotated[FilterChoice, BeforeValidator(_named)], ...] = (
        FilterChoice(name="charge_neutrality"),
    )
    quotas: QuotasSpec = QuotasSpec()
    lab: LabSpec = LabSpec()
    labs: tuple[LabSpec, ...] = ()
    encoder: str = "cloud-small"
    budget: BudgetSpec
    stop: StopSpec = StopSpec()
    safety: SafetySpec = SafetySpec()
    decide: DecideSpec = DecideSpec()
    surrogate: SurrogateSpec = SurrogateSpec()
    batch: int = Field(default=4, ge=1, le=1000)
    initial: int = Field(default=8, ge=1)
    regrow: int | None = Field(default=None, ge=1)
    in_flight: int = Field(default=2, ge=1)
    attempts: int = Field(default=3, ge=1)
    step_deadline: Duration = 7200.0
    seed: int = Field(default=0, ge=0)
    ledger: str | None = None

    @property
    def problem(self) -> Problem:
        """The objective and constraints, parsed."""
        return parse_problem(self.objective, self.constraints, self.reference, self.derived)

    @property
    def all_labs(self) -> tuple[LabSpec, ...]:
        """Where candidates are made, in order."""
        return self.labs or (self.lab,)

    @property
    def lab_labels(self) -> tuple[str, ...]:
        """What the labs are called; "" for one that names itself."""
        return tuple(lab.name for lab in self.all_labs)

    def lab_of(self, name: str) -> LabSpec:
        """Returns a lab's settings, by what the campaign calls it."""
        found = [lab for lab in self.all_labs if lab.name == name]
        found += [lab for lab in self.all_labs if not lab.name]
        return found[0] if found else self.all_labs[0]

    @property
    def sources(self) -> Callable[[str], int] | None:
        """Lab -> 0 for values that count, 1 for those that hint; None where all labs are alike."""
        if all(lab.fidelity != "cheap" for lab in self.all_labs):
            return None
        return lambda name: int(self.lab_of(name).fidelity == "cheap")

    def prices(self, name: str) -> Mapping[str, str]:
        """Returns what an experiment in a lab may cost, by resource."""
        return self.lab_of(name).costs

    @property
    def all_proposers(self) -> tuple[ProposerChoice, ...]:
        """Who proposes, in order."""
        return self.proposers or (ProposerChoice(name=self.proposer.name),)

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> CampaignSpec:
        finds = self.problem.objective.direction == "find"
        if self.stop.expected_hits and not finds:
            raise SpecError(
                "The key 'stop.expected_hits' needs an objective that finds all.",
                hint="Use stop.regret or stop.target for an optimum.",
            )
        if self.stop.regret and finds:
            raise SpecError(
                "The key 'stop.regret' needs an objective with an optimum or a target.",
                hint="Use stop.expected_hits where all is to be found.",
            )
        try:
            self.decide.strategy.acquisition_for(self.problem)
        except ObjectiveError as error:
            raise SpecError(f"decide.acquisition: {error.message}", hint=error.hint) from error
        named = {*self.surrogate.kinds, *self.surrogate.heads}
        if unknown := sorted(named - set(self.problem.properties)):
            raise SpecError(
                f"The key 'surrogate' names {unknown[0]}, which is neither sought nor bounded.",
                hint=f"Properties of this campaign: {', '.join(self.problem.properties)}.",
            )
        several = bool(self.problem.further)
        if several and self.stop.regret:
            raise SpecError(
                "The key 'stop.regret' needs one objective with an optimum or a target.",
                hint="Of a front use stop.no_improvement_rounds.",
            )
        if several and self.stop.target is not None and not self.reference:
            raise SpecError(
                "The key 'stop.target' is a hypervolume where several objectives are sought, and"
                " that counts from a reference.",
                hint="Give a `reference`, or use stop.no_improvement_rounds.",
            )
        optional = bool(info.context and info.context.get(_PARENTS_OPTIONAL))
        listed = all(p.name == "fixed_list" for p in self.all_proposers)
        if not (self.parents or listed or optional):
            raise SpecError(
                "The key 'parents' is missing or empty.",
                hint="Give at least one crystal to start from, or propose from a fixed_list.",
            )
        if self.proposers and self.proposer.name != ProposerSpec().name:
            raise SpecError(
                f"Both 'proposer.name' ({self.proposer.name}) and 'proposers' say who proposes.",
                hint="Name it among 'proposers' alone; 'proposer' may keep its other keys.",
            )
        _check_labs(self)
        sources = [*self.parents, *(p.options.get("path") for p in self.all_proposers)]
        if "-" in sources:
            raise SpecError(
                "A campaign cannot read standard input, for it must be able to begin again.",
                hint="`cloudseed propose --list - --out pool.csv` writes a file first.",
            )
        if self.ledger is not None and re.search(r"://[^/@]*:[^/@]+@", self.ledger):
            raise SpecError(
                "The ledger URL holds a password.",
                hint="Leave it out and set PGPASSWORD or a ~/.pgpass file.",
            )
        return self


def _check_labs(spec: CampaignSpec) -> None:
    """Refuses labs that cannot be told apart, or of which it is not said whose values count."""
    if spec.labs and spec.lab != LabSpec():
        raise SpecError(
            "Both 'lab' and 'labs' say where candidates are made.",
            hint="Move the one under 'lab' into 'labs'.",
        )
    names = [lab.name for lab in spec.labs]
    if len(spec.labs) > 1 and (not all(names) or len(set(names)) < len(names)):
        raise SpecError(
            "Several labs need a name each, no two the same.",
            hint="Give each of 'labs' a key 'name'.",
        )
    fidelities = {lab.fidelity for lab in spec.labs or (spec.lab,)}
    if fidelities != {None} and (None in fidelities or "dear" not in fidelities):
        raise SpecError(
            "Where one lab has a 'fidelity', each needs one, and one of them is dear.",
            hint="Give 'fidelity: dear' to the lab whose values count.",
        )


def load_spec(path: Path, *, parents_optional: bool = False) -> CampaignSpec:
    """Reads a campaign file and resolves its paths.

    Args:
        path: The file.
        parents_optional: Whether it may do without parents, as one that is only replayed.

    Raises:
        SpecError: If the file is missing, is no YAML mapping, or holds an unknown, missing or
            impossible value; the hint names the nearest known key.
        ObjectiveError: If the objective or a constraint cannot be parsed.
        InputError: If a shelf cannot be read.
    """
    data = with_shelves(_read_yaml(path), path.resolve().parent)
    spec = validate_spec(data, str(path), parents_optional=parents_optional)
    base = path.resolve().parent
    parents = tuple(_resolved(base, p) for p in spec.parents)
    lab = _lab_with_path(base, spec.lab)
    labs = tuple(_lab_with_path(base, each) for each in spec.labs)
    proposers = tuple(_with_paths(base, choice) for choice in spec.proposers)
    filters = tuple(_with_paths(base, choice) for choice in spec.filters)
    return spec.model_copy(
        update={
            "parents": parents,
            "lab": lab,
            "labs": labs,
            "proposers": proposers,
            "filters": filters,
        }
    )


def _lab_with_path(base: Path, lab: LabSpec) -> LabSpec:
    return lab.model_copy(update={"config": settings_beside(lab.adapter, lab.config, base)})


def _resolved(base: Path, source: str) -> str:
    return str(base / Path(source).expanduser()) if is_path(source) else source


def _with_paths(base: Path, choice: _Named) -> _Named:
    """Makes the paths among a proposer's or filter's options relative to the campaign file."""
    options = {
        key: _resolved(base, value) if key in _PATHS and isinstance(value, str) else value
        for key, value in choice.options.items()
    }
    return choice.model_copy(update={"options": options})


def validate_spec(
    data: Mapping[str, Any], source: str, *, parents_optional: bool = False
) -> CampaignSpec:
    """Checks the values of a campaign file.

    Args:
        data: What the YAML holds.
        source: Where it comes from, for messages.
        parents_optional: Whether parents may be missing.
    """
    try:
        return CampaignSpec.model_validate(data, context={_PARENTS_OPTIONAL: parents_optional})
    except ValidationError as error:
        raise _spec_error(error, source) from error


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise SpecError(f"{path} is too large for a campaign file.")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SpecError(
            f"There is no campaign file {path}.", hint="`cloudseed init` writes one to start from."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read as a campaign file.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise SpecError(f"{path} is no valid YAML{where}.") from error
    if not isinstance(data, dict):
        raise SpecError(f"{path} holds no mapping of keys to values.", hint="See `cloudseed init`.")
    return data


def _spec_error(error: ValidationError, source: str) -> SpecError:
    """Turns pydantic's first complaint into one sentence and a hint; unknown keys come first.

    A misspelt key is also a missing one, and naming it helps more.
    """
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    where = ".".join(location)
    if first["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known)}."
        return SpecError(f"{source}: the key {where!r} is unknown.", hint=hint, key=where)
    if first["type"] == "missing":
        return SpecError(
            f"{source}: the key {where!r} is missing.", hint="See `cloudseed init`.", key=where
        )
    message = first["msg"].removeprefix("Value error, ")
    return SpecError(
        f"{source}: {where or 'the file'}: {message[0].lower()}{message[1:]}.",
        hint=f"It is {first['input']!r}.",
        key=where,
    )


def _known_keys(location: list[str]) -> list[str]:
    model: Any = CampaignSpec
    for part in location:
        model = _LISTS.get(part) or (
            model if part.isdigit() else model.model_fields[part].annotation
        )
        # A section that may be left out is written as one or None.
        model = next((m for m in get_args(model) if hasattr(m, "model_fields")), model)
    return sorted(model.model_fields)


_LISTS: Mapping[str, Any] = {
    "proposers": ProposerChoice,
    "filters": FilterChoice,
    "labs": LabSpec,
}
