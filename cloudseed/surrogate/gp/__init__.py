"""The default surrogate: a Gaussian process over projected features.

`fit` standardises the values (`standardising`), finds the hyperparameters with BoTorch
(`optimising`) and answers with a `FittedSurrogate` (`process`), whose posterior is computed in
closed form. `cloudseed.surrogate.kernels` has the covariance and its priors. Other kinds of model
find their hyperparameters in their own way and answer with the same class.
"""

from cloudseed.surrogate.gp.drawing import draw_functions
from cloudseed.surrogate.gp.fitting import fit
from cloudseed.surrogate.gp.optimising import (
    botorch_model,
    hyperparameters,
    maximise,
    read_hyperparameters,
)
from cloudseed.surrogate.gp.process import MIN_NOISE, FittedSurrogate, Hyperparameters, condition
from cloudseed.surrogate.gp.standardising import NOTHING, Standardised, standardise

__all__ = [
    "MIN_NOISE",
    "NOTHING",
    "FittedSurrogate",
    "Hyperparameters",
    "Standardised",
    "botorch_model",
    "condition",
    "draw_functions",
    "fit",
    "hyperparameters",
    "maximise",
    "read_hyperparameters",
    "standardise",
]
