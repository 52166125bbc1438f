"""What the `mlip` lab does with a potential, in its worker processes.

    calculators   a potential by name, also another package's
    settings      what an owner may set
    offers        what can be measured, for how long
    outcomes      how a calculation can end without a value
    references    energies of elements and of competing phases
    relaxing      the structure at rest, and the energies that follow
    moduli        bulk modulus from an equation of state, shear modulus from strains
    vibrations    phonons: the heat capacity, and what shows that a structure is unstable
    expansion     quasi-harmonic properties at a temperature and a pressure
    conductivity  thermal conductivity of the lattice, with phono3py
    task          what a worker runs

The last six are loaded by workers alone, and their libraries by no one else.
"""

from __future__ import annotations

from cloudseed.lab_adapters.potentials.calculators import available_calculators
from cloudseed.lab_adapters.potentials.outcomes import Breakdown
from cloudseed.lab_adapters.potentials.references import chgnet_references
from cloudseed.lab_adapters.potentials.settings import MlipSettings

__all__ = ["Breakdown", "MlipSettings", "available_calculators", "chgnet_references"]
