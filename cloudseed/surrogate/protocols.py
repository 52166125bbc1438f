"""Candidates and data in, a ranked choice out: the whole of this part on one page.

An `Encoder` turns SCOPE strings into embeddings. A `Problem` says what is sought. `decide` (for a
campaign) and `rank` (for a list) fit a model to `Observations` on those embeddings, score every
candidate that is available, and answer with a `Choice`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from cloudseed.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.formulas import Formula

__all__ = [
    "CheapSource",
    "Choice",
    "Constraint",
    "Encoder",
    "Guess",
    "ModelKind",
    "ModelSettings",
    "Objective",
    "Observations",
    "Problem",
    "Scores",
]


@runtime_checkable
class Encoder(Protocol):
    """Turns SCOPE strings into vectors.

    Attributes:
        id: Hash of weights, configuration and dialect; keys every cached embedding.
        name: How people call it.
        dimension: Length d of an embedding.
        dialect: The SCOPE dialect it reads.
    """

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def dialect(self) -> str: ...

    def embed(self, strings: Sequence[str]) -> npt.NDArray[np.float32]:
        """Returns embeddings, n x d.

        Raises:
            ScopeError: If a string is empty, too long or holds an unknown token.
        """
        ...


@dataclass(frozen=True, slots=True)
class Objective:
    """What is sought of a property.

    Attributes:
        property: The property; with "find" the one that results are shown by.
        direction: "max" or "min" for the largest or smallest value; "target" for the one nearest to
            `target`; "find" for as many materials as possible that meet the constraints.
        target: The value to come near, in the property's own unit; None unless `direction` is
            "target".
        share: With "find", the share of the pool that is to be found, above 0 and below 1: those
            that meet the constraints and lie at the `end` of the property's values. None where the
            constraints alone say what is to be found.
        end: Which end; None unless there is a share.
    """

    property: str
    direction: Literal["max", "min", "target", "find"]
    target: float | None = None
    share: float | None = None
    end: Literal["highest", "lowest"] | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound that a good material must keep, in the property's own unit."""

    property: str
    relation: Literal["<=", ">="]
    bound: float


@dataclass(frozen=True, slots=True)
class Problem:
    """What is sought.

    Attributes:
        objective: What to optimise; of several objectives the first.
        constraints: What must hold.
        further: The other objectives. With any, what is sought is the Pareto front: the materials
            that no other one equals in every objective and beats in one.
        reference: A value of each objective, in its own unit, that is just not worth having; the
            hypervolume of a front counts from there. None to infer it from the measurements.
        derived: Properties that are computed from measured ones; each may hold those before it.
    """

    objective: Objective
    constraints: tuple[Constraint, ...] = ()
    further: tuple[Objective, ...] = ()
    reference: tuple[float, ...] | None = None
    derived: tuple[Formula, ...] = ()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All objectives."""
        return (self.objective, *self.further)

    @property
    def properties(self) -> tuple[str, ...]:
        """Every property that must be known, the objectives' first, each once."""
        names = [*(o.property for o in self.objectives), *(c.property for c in self.constraints)]
        return tuple(dict.fromkeys(names))

    @property
    def measured(self) -> tuple[str, ...]:
        """Every property that a lab is asked for: those known, and what the derived ones hold."""
        formulas = {formula.name: formula for formula in self.derived}
        names: dict[str, None] = {}
        waiting = list(self.properties)
        while waiting:
            name = waiting.pop(0)
            if name in formulas:
                waiting = [*formulas[name].of, *waiting]
            else:
                names[name] = None
        return tuple(names)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every property that is known or measured, each once."""
        return tuple(dict.fromkeys([*self.properties, *self.measured]))

    def unit(self, name: str) -> str | None:
        """Returns the unit of a property, None where nobody knows it."""
        formulas = {formula.name: formula.unit for formula in self.derived}
        return formulas.get(name, unit_of(name))


@dataclass(frozen=True, slots=True)
class Guess:
    """What is predicted of one property before anything is measured, such as by an encoder's head.

    Attributes:
        mean: Predicted values in the property's unit, N.
        sd: Their standard deviations, N.
    """

    mean: npt.NDArray[np.float64]
    sd: npt.NDArray[np.float64]


ModelKind = Literal["auto", "gp", "robust", "variational"]
"""What models a property: a Gaussian process; one that outliers do not bend; one for thousands of
values; or whichever of these suits the data."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What models the properties.

    Attributes:
        kind: Of all properties that `kinds` does not name.
        kinds: Property -> kind.
    """

    kind: ModelKind = "auto"
    kinds: Mapping[str, ModelKind] = field(default_factory=dict)

    def of(self, name: str) -> ModelKind:
        """Returns the kind of a property's model."""
        return self.kinds.get(name, self.kind)


@dataclass(frozen=True, slots=True)
class Observations:
    """What was measured, and what could not be.

    Attributes:
        rows: Row of the feature matrix of each observation, n; a row may occur more than once.
            Oldest first.
        values: Measured values, n x m, NaN where a property was not measured.
        properties: The m property names.
        infeasible: Rows that could not be made or that the lab will not measure, oldest first.
        sigma: Standard uncertainties that came with the values, n x m, NaN where none did; None
            where none did at all.
        source: Number of what measured each, n: 0 for what counts, others for what only hints at
            it, such as a potential beside a laboratory. None where all measure alike.
    """

    rows: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    properties: tuple[str, ...]
    infeasible: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    sigma: npt.NDArray[np.float64] | None = None
    source: npt.NDArray[np.int64] | None = None

    @property
    def counting(self) -> Observations:
        """The observations whose values count, without those that only hint at them."""
        if self.source is None or not self.source.any():
            return self
        kept = self.source == 0
        return replace(
            self,
            rows=self.rows[kept],
            values=self.values[kept],
            sigma=None if self.sigma is None else self.sigma[kept],
            source=self.source[kept],
        )


@dataclass(frozen=True, slots=True)
class CheapSource:
    """A source whose values only hint, which may be asked before the one whose values count.

    Attributes:
        done: Rows that it has measured or will not measure, and is not to be asked of again.
        price: What one of its values costs, over what one that counts does; 0 or more, and infinite
            where it cannot be asked.
    """

    done: npt.NDArray[np.int64]
    price: float


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model says of every available candidate.

    Attributes:
        rows: Rows of the feature matrix, k, best first.
        mean: Posterior mean per property, k x m.
        sd: Posterior standard deviation of the noise-free property, k x m.
        acquisition: Value of measuring each one alone, k; larger is better.
        feasible: Probability that a candidate can be made and measured values meet all
            constraints, k.
        properties: The m properties that were modelled; a constraint on one that was never measured
            is left out.
    """

    rows: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    sd: npt.NDArray[np.float64]
    acquisition: npt.NDArray[np.float64]
    feasible: npt.NDArray[np.float64]
    properties: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision.

    Attributes:
        picks: Rows to measure next, in order of choice.
        scores: The scores of all available candidates; None where nothing was modelled yet.
        method: Name of the method that chose, for instance "LogNEI" or "space_filling".
        model: What is needed to tell models apart: kernel, hyperparameters, sizes; JSON values.
        notes: What went otherwise than planned, for the record.
        sources: Number of the source that each pick is for, 0 for the one whose values count and 1
            for the cheap one; empty where all measure alike.
    """

    picks: tuple[int, ...]
    scores: Scores | None
    method: str
    model: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sources: tuple[int, ...] = ()
