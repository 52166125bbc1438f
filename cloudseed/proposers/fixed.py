"""A fixed list as a proposer: how a ranker brings a pool, or a generative model its structures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudseed._parsing import Task
from cloudseed.crystal import SYMPREC
from cloudseed.errors import InputError, UsageError
from cloudseed.proposers.parents import read_entries
from cloudseed.proposers.protocols import Candidate, Operation, ProposalContext
from cloudseed.proposers.sources import find_entries

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from cloudseed.crystal import Disorder

__all__ = ["FixedList"]


@dataclass(frozen=True, slots=True)
class FixedList:
    """Proposes what stands in a list, in its order; parents are not asked for.

    The numbers that a list gives beside a structure go into the candidate's papers as "values". A
    candidate's probability is one, of kind "listed"; the budget per parent does not bound it.

    Attributes:
        path: A folder of structure files, a table with a column `cif`, an ASE database, a pattern,
            a question to a database, or "-" for CIFs on standard input, such as a generative model
            prints.
        symprec: Tolerance of the symmetry search, in angstrom.
        workers: Processes that parse at the same time.
        disorder: What is done with partly occupied sites: "refuse" or "majority".
        skip_bad: Whether structures that cannot be used are left out; `skipped` then tells why.
    """

    path: str
    symprec: float = SYMPREC
    workers: int = field(default=1, compare=False)
    disorder: Disorder = "refuse"
    skip_bad: bool = False
    name: str = field(default="fixed_list", init=False)
    version: str = field(default="1", init=False)
    needs_parents: bool = field(default=False, init=False)
    _skipped: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.path:
            raise UsageError(
                "The fixed list has no path.", hint="Name a folder, a table, a database or '-'."
            )

    @property
    def skipped(self) -> tuple[str, ...]:
        """For each structure that was left out by the last call, why."""
        return tuple(self._skipped)

    def propose(
        self,
        context: ProposalContext,  # noqa: ARG002  filters judge the elements
        budget: int,  # noqa: ARG002  a list is as long as it is
        rng: np.random.Generator,  # noqa: ARG002  and has an order
    ) -> Iterator[Candidate]:
        """Yields the list.

        Raises:
            UsageError: If the path cannot be understood.
            InputError: If a structure cannot be used and may not be left out.
        """
        self._skipped.clear()
        rank = 0
        results = read_entries(
            find_entries(self.path),
            symprec=self.symprec,
            workers=self.workers,
            disorder=self.disorder,
        )
        for entry, note, result in results:
            if isinstance(result, InputError):
                if not self.skip_bad:
                    raise result
                self._skipped.append(result.message)
                continue
            arguments: dict[str, object] = {
                "source": f"{entry.origin} ({note})" if note else entry.origin,
                "values": dict(entry.values),
            }
            if isinstance(entry.source, tuple):
                text = entry.source.text if isinstance(entry.source, Task) else entry.source[1]
                arguments["sha256"] = hashlib.sha256(text.encode()).hexdigest()
            operation = Operation(self.name, arguments)
            yield Candidate(result, (entry.name,), operation, 0.0, "listed", rank, depth=0)
            rank += 1
