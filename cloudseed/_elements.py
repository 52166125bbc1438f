"""Element symbols by atomic number; the vacancy has number 0."""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["NUMBERS", "SYMBOLS", "VACANCY"]

VACANCY = "Vac"
"""What stands for an empty site where an element symbol is expected."""

_ELEMENTS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br"
    " Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho"
    " Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es"
    " Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)

SYMBOLS = (VACANCY, *_ELEMENTS.split())
"""Symbols, at the place of their atomic number."""

NUMBERS = MappingProxyType({symbol: number for number, symbol in enumerate(SYMBOLS)})
"""Symbol -> atomic number."""
