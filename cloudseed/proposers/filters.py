"""Filters: cheap questions to a candidate's elements and charges.

None builds a structure. Each answers with one clause that is the same for the same cause, so that a
report can count causes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cloudseed._elements import NUMBERS, SYMBOLS
from cloudseed.errors import UsageError
from cloudseed.proposers._tables import permitted_elements, radioactive
from cloudseed.proposers.protocols import Candidate, FilterResult, Judged, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

__all__ = ["AllowedElements"]

_IN_ALPHABET = np.argsort(np.argsort(SYMBOLS))


class AllowedElements:
    """Passes candidates made of permitted elements only.

    Args:
        allow: Symbols; None for all that are not radioactive. A radioactive element passes only
            if it stands here.
        forbid: Symbols that never pass.

    Raises:
        UsageError: If a symbol is no element, if the lists contradict each other, or if nothing
            is left.
    """

    name = "elements"
    version = "1"
    depends_on = "composition"

    def __init__(self, allow: Iterable[str] | None = None, forbid: Iterable[str] = ()) -> None:
        self.permitted = permitted_elements(allow, forbid)
        if not self.permitted:
            raise UsageError("Every element is forbidden.", hint="Take some out of the list.")

    def check(self, candidate: Candidate) -> FilterResult:
        """Fails on the first element, in alphabetical order, that is not permitted."""
        for element in sorted(candidate.crystal.composition):
            if element not in self.permitted:
                return self._failure(element)
        return FilterResult(self.name, self.version, Verdict.PASS)

    def check_many(
        self,
        numbers: npt.NDArray[np.uint8],
        amounts: Sequence[int],  # noqa: ARG002  only the elements count
    ) -> Judged:
        """Returns what `check` says of many compositions."""
        bad = ~np.isin(np.arange(len(SYMBOLS)), [NUMBERS[e] for e in self.permitted])[numbers]
        first = np.where(bad, _IN_ALPHABET[numbers], len(SYMBOLS)).argmin(axis=1)
        offender = numbers[np.arange(len(numbers)), first].astype(np.intp)
        found, index = np.unique(np.where(bad.any(axis=1), offender, 0), return_inverse=True)
        passed = FilterResult(self.name, self.version, Verdict.PASS)
        results = [self._failure(SYMBOLS[n]) if n else passed for n in found.tolist()]
        return Judged(results, index)

    def _failure(self, element: str) -> FilterResult:
        why = f"{element} is radioactive" if radioactive(element) else f"{element} is not"
        reason = why if why.endswith("radioactive") else f"{why} among the allowed elements"
        return FilterResult(self.name, self.version, Verdict.FAIL, reason)
