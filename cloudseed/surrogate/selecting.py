"""Which kind of model a property gets: the one that best predicts each value from all the others.

Kinds are compared by their leave-one-out log predictive density (Rasmussen and Williams 2006,
section 5.4.2; A. Vehtari, A. Gelman and J. Gabry, Stat. Comput. 27, 1413 (2017)) on the oldest
measurements, as many as there were when the data last had grown by a fifth. So the choice follows
from the data alone, is the same whenever a decision is made again, and costs little.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudseed.errors import FitError
from cloudseed.surrogate import gp, robust
from cloudseed.surrogate.kernels import MATERN, Kernel
from cloudseed.surrogate.variational import MANY, fit_variational

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from cloudseed.surrogate.gp import FittedSurrogate
    from cloudseed.surrogate.protocols import ModelKind

    Array = npt.NDArray[np.float64]

__all__ = ["LEAST", "LEAST_FOR_HEADS", "Measured", "fit_property"]

LEAST = 20
"""With fewer values there is nothing to choose by: the default is taken."""

LEAST_FOR_HEADS = 60
"""With fewer values a prediction made beforehand is kept. What was measured tells little of the
ends that are searched for, and a slope near zero does no harm."""

_GROWTH = 1.2
#: Standard deviations by which the default misses a value that may be an outlier.
_SURPRISE = 3.5
#: Log density a value by which another kind must be better: outliers bring far more.
_WORTH = 0.1
_REMEMBERED = 512
_densities: OrderedDict[bytes, float] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of one property.

    Attributes:
        name: The property, for notes and errors.
        x: Projected features, oldest first, n x p.
        y: Values, n, finite.
        spread: A plausible standard deviation, used where all values are equal.
        prior: What was predicted of each beforehand, n, and which coordinate of a point holds it.
        sigma: Known standard uncertainties, n, NaN where unknown; None where none is known.
        widths: Coordinates of each block of the features, in order; None for one block.
        kernel: The kernel of every block.
        wanted: The smallest and largest value that is sought.
    """

    name: str
    x: Array
    y: Array
    spread: float | None = None
    prior: tuple[int, Array] | None = None
    sigma: Array | None = None
    widths: tuple[int, ...] | None = None
    kernel: Kernel = MATERN
    wanted: tuple[float, float] = gp.NOTHING

    @property
    def first(self) -> Array:
        """The first block of the features, n x p."""
        return self.x[:, : self.widths[0]] if self.widths else self.x

    def at(self, places: npt.NDArray[np.int64] | slice) -> Measured:
        """Returns some of them."""
        prior = None if self.prior is None else (self.prior[0], self.prior[1][places])
        sigma = None if self.sigma is None else self.sigma[places]
        return replace(self, x=self.x[places], y=self.y[places], prior=prior, sigma=sigma)


def fit_property(measured: Measured, seed: int, kind: ModelKind = "auto") -> FittedSurrogate:
    """Fits one property with the kind of model that suits it.

    Args:
        measured: Its measurements.
        seed: As in `gp.fit`.
        kind: "gp", "robust" or "variational"; "auto" for the one of the first two that predicts
            best, and for the last where there are more than `MANY` values. A prediction made
            beforehand is left out where the model does better without, whatever the kind. With more
            than `robust.MAX_ROWS` values "robust" is "auto" without it, with a note.

    Raises:
        InputError: If there is no value or one is NaN or infinite.
        FitError: If the measurements cannot be modelled.
    """
    total = len(measured.y)
    notes: list[str] = []
    told: dict[str, float] = {}
    if measured.prior is not None and total >= LEAST_FOR_HEADS:
        plain = replace(measured, prior=None)
        told = _compare({"gp with heads": ("gp", measured), "gp": ("gp", plain)})
        if told["gp"] > told["gp with heads"]:
            measured = plain
            notes.append(f"the encoder's head of {measured.name} is left out: it does not help")
    usual: ModelKind = "variational" if total > MANY else "gp"
    chosen = usual if kind == "auto" else kind
    if chosen == "robust" and total > robust.MAX_ROWS:
        chosen = usual
        notes.append(
            f"{total} values of {measured.name} are more than the {robust.MAX_ROWS} that the"
            f" robust model takes: {usual} is used"
        )
    model = _fit(measured, seed, chosen)
    if kind == "auto" and LEAST <= total <= robust.MAX_ROWS and _surprised(model):
        before = "gp" if measured.prior is None else "gp with heads"
        told |= _compare({before: ("gp", measured), "robust": ("robust", measured)})
        if told["robust"] > told[before] + _WORTH:
            other = _fit(measured, seed, "robust")
            lost = _lost(measured, other)
            if lost:
                notes.append(
                    f"a robust model of {measured.name} would take {lost} values that are sought"
                    " for outliers: the default is used"
                )
            else:
                chosen, model = "robust", other
    about = {"kind": chosen, **model.about}
    if told:
        about["compared"] = {"n": _counted(total), "log_density": told}
    return replace(model, about=about, notes=(*model.notes, *notes))


def _fit(measured: Measured, seed: int, kind: str) -> FittedSurrogate:
    """Fits one kind; the default in place of another that fails, of the newest values if many."""
    m = measured
    asked: dict[str, Any] = {
        "seed": seed,
        "name": m.name,
        "spread": m.spread,
        "prior": m.prior,
        "widths": m.widths,
        "kernel": m.kernel,
        "wanted": m.wanted,
    }
    unused: tuple[str, ...] = ()
    if kind != "gp" and m.sigma is not None and np.isfinite(m.sigma).any():
        unused = (f"known uncertainties of {m.name} are not used by the {kind} model",)
    if kind != "gp":
        fit = fit_variational if kind == "variational" else robust.fit_robust
        try:
            found = fit(m.x, m.y, **asked)
            return replace(found, notes=(*found.notes, *unused))
        except FitError as error:
            note = f"the {kind} fit of {m.name} failed ({error.message}): the default is used"
            if len(m.y) > MANY:
                note += f" on the newest {MANY} values"
            plain = _fit(m.at(slice(-MANY, None)), seed, "gp")
            return replace(plain, about={"kind": "gp"}, notes=(*plain.notes, note))
    return gp.fit(m.x, m.y, **asked, sigma=m.sigma)


def _surprised(model: FittedSurrogate) -> bool:
    """Tells whether values are so far from what the others say that a robust model may be worth it.

    What they cost in log density is the most that calling them outliers can gain.
    """
    left = model.left_out
    off = np.abs(left.targets - left.mean) / left.sd
    cost = float((off[off > _SURPRISE] ** 2).sum()) / 2
    return cost > _WORTH * len(off)


def _lost(measured: Measured, model: FittedSurrogate) -> int:
    """Returns how many of the values that are sought a robust model takes for outliers."""
    if model.extra is None:
        return 0
    lower, upper = measured.wanted
    return int(((model.extra > 0) & (measured.y >= lower) & (measured.y <= upper)).sum())


def _counted(total: int) -> int:
    """Returns how many measurements a comparison looks at: `LEAST` times a power of the growth."""
    steps = math.floor(math.log(total / LEAST) / math.log(_GROWTH) + 1e-9)
    return int(LEAST * _GROWTH**steps)


def _compare(kinds: dict[str, tuple[str, Measured]]) -> dict[str, float]:
    """Returns the log predictive density of each kind; minus infinity where it cannot be fitted.

    The seed of each fit follows from the part itself, so that a remembered density is that of any
    decision.
    """
    found = {}
    for label, (kind, measured) in kinds.items():
        part = measured.at(slice(_counted(len(measured.y))))
        key = _digest(part, kind)
        if key not in _densities:
            try:
                _densities[key] = _fit(part, int.from_bytes(key[:4]), kind).log_density
            except FitError:
                _densities[key] = -math.inf
            if len(_densities) > _REMEMBERED:
                _densities.popitem(last=False)
        found[label] = _densities[key]
    return found


def _digest(measured: Measured, kind: str) -> bytes:
    """Returns a hash of all that a density depends on."""
    prior = measured.prior
    parts: Sequence[Array | None] = (
        measured.x,
        measured.y,
        None if prior is None else prior[1],
        measured.sigma,
    )
    blanks = [p is None for p in parts]
    place = None if prior is None else prior[0]
    m = measured
    asked = (kind, m.spread, m.widths, m.kernel, m.wanted, place, blanks)
    digest = hashlib.sha256(repr(asked).encode())
    for part in parts:
        if part is not None:
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.digest()
