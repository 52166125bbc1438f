"""The candidates of a campaign, with their embeddings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cloudseed.crystal import SYMPREC, Cell, Crystal, GeometryRoot
from cloudseed.db import NewCandidate
from cloudseed.errors import StorageError
from cloudseed.loop.hints import GapHints
from cloudseed.proposers import Parent
from cloudseed.surrogate import (
    BLOCKS,
    EmbeddingStore,
    Features,
    Memory,
    element_descriptors,
    guess,
    site_descriptors,
    wants_hints,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    import numpy.typing as npt

    from cloudseed.db import CandidateRow, Claim, Ledger
    from cloudseed.loop.proposing import Proposal, Proposed
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.surrogate import Encoder, Guess, Problem

__all__ = [
    "CrystalShelf",
    "Pool",
    "embed_all",
    "feature_blocks",
    "given_names",
    "load_pool",
    "parents_from_config",
    "record_pool",
]


LARGE_POOL = 100_000
"""Above so many different strings, embeddings go to shards on disk, not to the ledger.

A row of the ledger costs 77 microseconds to write and read, a row of a shard 8 (192 numbers, one
core); at a million the ledger would also have grown by 1.2 GB, which every backup carries along.
"""

SHARD = 32_768
"""Embeddings in a shard: some seconds of work and, at 192 numbers each, 25 MB."""


RECORDED_TOGETHER = 10_000
"""Candidates of a pool that are recorded in one transaction: some seconds and 15 MB."""


@dataclass(frozen=True, eq=False)
class Pool:
    """The candidates of a campaign.

    Attributes:
        rows: Candidates in order of position, N.
        features: Their embeddings, N x d.
        encoder_id: Which encoder made them.
        gaps: Hints on their band gaps.
        shelf: Builds their crystals; without one, what is on their sites is not seen.
    """

    rows: Sequence[CandidateRow]
    features: npt.NDArray[np.float32]
    encoder_id: str
    gaps: GapHints = field(default_factory=GapHints)
    shelf: CrystalShelf | None = None

    @cached_property
    def sha(self) -> str:
        """SHA-256 of the keys in order."""
        return hashlib.sha256("\n".join(row.key for row in self.rows).encode()).hexdigest()

    @cached_property
    def memory(self) -> Memory:
        """What one decision over this pool leaves for the next."""
        return Memory()

    def hints(self, problem: Problem) -> npt.NDArray[np.float64] | None:
        """Returns what chemistry says of each candidate's band gap, N; None where it is no matter.

        Larger where a gap is likelier.
        """
        return self.gaps.of([row.scope for row in self.rows]) if wants_hints(problem) else None

    def blocks(self, names: Sequence[str] = BLOCKS) -> Features:
        """Returns what models see of the candidates, as `decide.features` names it."""
        elements = self._elements if "elements" in names else None
        sites = self._sites if "sites" in names else None
        return feature_blocks(names, self.features, elements, sites)

    @cached_property
    def _elements(self) -> npt.NDArray[np.float32]:
        return element_descriptors([row.scope for row in self.rows])

    @cached_property
    def _sites(self) -> npt.NDArray[np.float32] | None:
        if self.shelf is None:
            return None
        return site_descriptors([self.shelf.crystal(row) for row in self.rows])

    def guesses(self, spec: CampaignSpec) -> Mapping[str, Guess]:
        """Returns what the encoder's heads predict of each candidate, by property.

        Empty where the campaign wants none, or the encoder has none. Computed once per pool.
        """
        if spec.surrogate.prior == "none":
            return {}
        for name in spec.problem.properties:
            if name not in self._guessed:
                asked = {p: h for p, h in spec.surrogate.heads.items() if p == name}
                found = guess(spec.encoder, self.encoder_id, self.features, [name], asked)
                self._guessed[name] = found.get(name)
        known = {name: self._guessed[name] for name in spec.problem.properties}
        return {name: found for name, found in known.items() if found is not None}

    @cached_property
    def _guessed(self) -> dict[str, Guess | None]:
        return {}

    @cached_property
    def position(self) -> Mapping[int, int]:
        """Candidate id -> row of `features`."""
        return {row.id: position for position, row in enumerate(self.rows)}


def feature_blocks(
    names: Sequence[str],
    embeddings: npt.NDArray[Any],
    elements: npt.NDArray[np.float32] | None,
    sites: npt.NDArray[np.float32] | None = None,
) -> Features:
    """Joins blocks of features, in the order of their names.

    Args:
        names: Some of `BLOCKS`.
        embeddings: Embeddings, N x d.
        elements: Element descriptors, N x p; None where there are no strings to make them of, or
            no need.
        sites: Site descriptors, N x roles x p, a block for each role; None where there are no
            crystals to make them of, or no need.
    """
    found = {"embedding": [embeddings], "elements": [] if elements is None else [elements]}
    found["sites"] = [] if sites is None else list(np.moveaxis(sites, 1, 0))
    blocks = {
        name if name != "sites" else f"sites {place + 1}": block
        for name in names
        for place, block in enumerate(found[name])
    }
    return Features(blocks or {"embedding": embeddings})


def parents_from_config(
    config: Sequence[Mapping[str, Any]], symprec: float = SYMPREC
) -> tuple[Parent, ...]:
    """Refines the parents that a campaign's record holds, with the campaign's tolerance."""
    cells = [Cell.from_json(p["cell"]) for p in config]
    return tuple(
        Parent(str(p["name"]), Crystal.from_cell(cell, symprec=symprec), str(p["source"]))
        for p, cell in zip(config, cells, strict=True)
    )


def record_pool(
    ledger: Ledger,
    claim: Claim,
    proposed: Proposed,
    notes: Callable[[Proposal], Mapping[str, Any]] | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Records chosen candidates with their papers.

    They are made before a transaction, so that nobody waits for the ledger meanwhile. A pool is
    recorded some at a time: after a kill, the same call records the rest. A generation, which has
    notes, is recorded whole or not at all.

    Args:
        ledger: Where they are recorded.
        claim: The right to write there.
        proposed: The candidates.
        notes: What each paper of a generation holds besides its own.
        progress: Told how many were recorded, and how many there are.
    """
    roots: dict[str, Mapping[str, Any]] = {}
    count = len(proposed.proposals)
    some = count if notes else RECORDED_TOGETHER
    for start in range(0, count, max(some, 1)):
        made = [
            _new(proposed.proposals[place], roots, notes)
            for place in range(start, min(start + some, count))
        ]
        ledger.add_candidates(claim, made)
        progress(start + len(made), count)


def _new(
    proposal: Proposal,
    roots: dict[str, Mapping[str, Any]],
    notes: Callable[[Proposal], Mapping[str, Any]] | None,
) -> NewCandidate:
    crystal = proposal.crystal
    sha = crystal.root.sha
    if sha not in roots:
        roots[sha] = crystal.root.to_json()
    return NewCandidate(
        key=proposal.kept.key,
        formula=crystal.formula,
        scope=proposal.scope,
        root=roots[sha],
        root_sha=sha,
        colouring=crystal.colouring,
        papers={**proposal.papers(), **(notes(proposal) if notes else {})},
    )


def load_pool(
    ledger: Ledger, campaign_id: int, encoder: Encoder, folder: Path | None = None
) -> Pool:
    """Reads the recorded candidates and embeds those that are not cached.

    Args:
        ledger: Where they are recorded.
        campaign_id: Whose they are.
        encoder: What embeds them.
        folder: Where embeddings of a large pool are kept.
    """
    rows = ledger.candidates(campaign_id)
    strings = [row.scope for row in rows]
    features = embed_all(encoder, strings, ledger, folder)
    return Pool(rows, features, encoder.id, GapHints(folder), CrystalShelf(ledger))


def embed_all(
    encoder: Encoder,
    strings: Sequence[str],
    ledger: Ledger | None = None,
    folder: Path | None = None,
) -> npt.NDArray[np.float32]:
    """Returns embeddings, n x d, through a cache where there is one.

    Args:
        encoder: What embeds the strings.
        strings: SCOPE strings, n.
        ledger: Caches the embeddings of up to `LARGE_POOL` different strings.
        folder: Caches those of more, shard by shard, so that a kill loses one shard's work.

    Raises:
        StorageError: If the folder cannot be written.
    """
    unique = list(dict.fromkeys(strings))
    if folder is not None and len(unique) > LARGE_POOL:
        table = _through_store(encoder, unique, ledger, folder)
        if len(unique) == len(strings):
            return table
        place = {string: row for row, string in enumerate(unique)}
        return table[[place[string] for string in strings]]
    cached = dict(ledger.get_embeddings(encoder.id, unique)) if ledger else {}
    missing = [s for s in unique if s not in cached]
    if missing:
        vectors = encoder.embed(missing)
        cached.update(zip(missing, vectors, strict=True))
        if ledger:
            ledger.put_embeddings(encoder.id, missing, vectors)
    return np.stack([cached[s] for s in strings]).astype(np.float32)


def _through_store(
    encoder: Encoder, unique: Sequence[str], ledger: Ledger | None, folder: Path
) -> npt.NDArray[np.float32]:
    """Returns embeddings of different strings, through shards on disk."""
    store = EmbeddingStore(folder, encoder.id, encoder.dimension)
    found, table = store.read(unique)
    missing = np.flatnonzero(~found)
    for start in range(0, len(missing), SHARD):
        rows = missing[start : start + SHARD]
        wanted = [unique[row] for row in rows]
        # A pool that has grown large was cached in the ledger before.
        cached = ledger.get_embeddings(encoder.id, wanted) if ledger else {}
        new = [string for string in wanted if string not in cached]
        vectors = dict(zip(new, encoder.embed(new), strict=True)) if new else {}
        table[rows] = np.stack([cached[s] if s in cached else vectors[s] for s in wanted])
        try:
            store.write(wanted, table[rows])
        except OSError as error:
            raise StorageError(
                f"The embeddings cannot be written to {folder}: {error.strerror}.",
                hint="Free some space, or check the folder's permissions.",
                path=str(folder),
            ) from error
    return table


def given_names(papers: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names of the given crystals that a candidate's line begins with."""
    made = [name for origin in papers.get("origins", ()) for name in origin["parents"]]
    return tuple(dict.fromkeys(papers.get("regrown", {}).get("given", made)))


class CrystalShelf:
    """Builds recorded candidates' crystals; reads each geometry root once.

    Args:
        ledger: Where they are recorded.
        parents: The campaign's parents.
    """

    def __init__(self, ledger: Ledger, parents: Iterable[Parent] = ()) -> None:
        self._ledger = ledger
        self._parents = {parent.name: parent.crystal for parent in parents}
        self._roots: dict[str, GeometryRoot] = {}

    def crystal(self, row: CandidateRow) -> Crystal:
        """Returns the candidate's crystal."""
        root = self._roots.get(row.root_sha)
        if root is None:
            root = GeometryRoot.from_json(self._ledger.root(row.root_sha))
            self._roots[row.root_sha] = root
        return Crystal(root, row.colouring)

    def parent(self, row: CandidateRow) -> Crystal | None:
        """Returns the parent that the candidate was first made from, if it is known here.

        For children of what was measured it is the given crystal that their line begins with.
        """
        names = given_names(self._ledger.papers(row.id))
        return next((self._parents[name] for name in names if name in self._parents), None)
