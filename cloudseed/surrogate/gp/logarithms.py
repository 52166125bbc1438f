"""The search for hyperparameters by their logarithms.

Length scales, variances and noise differ by orders of magnitude from each other and from where a
search begins. By their logarithms it ends in fewer steps, and is as good.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["minimise_by_logarithms"]


def minimise_by_logarithms(
    mll: Any,
    *,
    closure: Callable[[], tuple[Any, Sequence[Any]]] | None = None,
    options: dict[str, Any] | None = None,
    timeout_sec: float | None = None,
) -> Any:
    """Takes the place of BoTorch's `fit_gpytorch_mll_scipy`: L-BFGS-B, with the same bounds.

    Parameters that are bounded below by a positive number are searched by their logarithm, the
    others as they are.

    Args:
        mll: A marginal log likelihood; its parameters are left at the optimum.
        closure: Returns the loss and its gradient by each parameter that is fitted; None for
            GPyTorch's own.
        options: Of `scipy.optimize.minimize`.
        timeout_sec: Seconds after which the best so far is taken.

    Returns:
        BoTorch's `OptimizationResult`.
    """
    import torch
    from botorch.exceptions.warnings import OptimizationWarning
    from botorch.optim.closures import get_loss_closure_with_grads
    from botorch.optim.core import OptimizationStatus, scipy_minimize
    from botorch.optim.utils import get_parameters_and_bounds

    every, bounds = get_parameters_and_bounds(mll)
    fitted = {name: p for name, p in every.items() if p.requires_grad}
    lower = {name: _positive(bounds[name][0]) for name in fitted if name in bounds}
    lower = {name: bound for name, bound in lower.items() if bound is not None}
    # What is searched, from the same bounds: logarithms are copies, the others the parameters.
    searched = {
        name: p.detach().clamp_min(lower[name]).log() if name in lower else p
        for name, p in fitted.items()
    }
    logs = {name: tuple(b if b is None else _log(b) for b in bounds[name]) for name in lower}
    loss = closure or get_loss_closure_with_grads(mll, parameters=fitted)

    def by_logarithms() -> tuple[Any, tuple[Any, ...]]:
        with torch.no_grad():
            for name in lower:
                fitted[name].copy_(searched[name].exp())
        value, gradient = loss()
        return value, tuple(
            slope if slope is None or name not in lower else slope * fitted[name].detach()
            for (name, slope) in zip(fitted, gradient, strict=True)
        )

    found = scipy_minimize(
        by_logarithms, searched, {**bounds, **logs}, options=options, timeout_sec=timeout_sec
    )
    with torch.no_grad():
        for name in lower:
            fitted[name].copy_(searched[name].exp())
    if found.status not in (OptimizationStatus.SUCCESS, OptimizationStatus.STOPPED):
        # BoTorch tries again from elsewhere when it is warned.
        warnings.warn(found.message or str(found.status), OptimizationWarning, stacklevel=2)
    return found


def _positive(bound: Any) -> float | None:
    """Returns a lower bound if it is a positive number."""
    number = float("-inf") if bound is None else float(bound)
    return number if 0 < number < float("inf") else None


def _log(bound: Any) -> Any:
    """Returns the logarithm of a bound."""
    import torch

    return torch.as_tensor(bound, dtype=torch.float64).log()
