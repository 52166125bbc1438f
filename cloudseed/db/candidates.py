"""The pool, and the cache of its embeddings."""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import func, insert, or_, select

from cloudseed.db import events
from cloudseed.db.campaigns import fenced
from cloudseed.db.columns import now
from cloudseed.db.events import EventKind
from cloudseed.db.models import Candidate, Embedding, Experiment, Structure
from cloudseed.db.rows import CandidateRow
from cloudseed.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from cloudseed.db.rows import Claim, NewCandidate

__all__ = ["add", "by_id", "count", "get_embeddings", "papers", "put_embeddings", "root", "rows"]

_T = TypeVar("_T")

CHUNK = 1_000
"""Values per `IN`: SQLite takes 32,766 parameters, PostgreSQL 65,535."""


def add(session: Session, claim: Claim, candidates: Iterable[NewCandidate]) -> int:
    """Records candidates whose keys are new, in order, as they come; returns how many were."""
    campaign = fenced(session, claim)
    last = session.scalar(
        select(func.max(Candidate.position)).where(Candidate.campaign_id == campaign.id)
    )
    first = 0 if last is None else last + 1
    added = 0
    roots: set[str] = set()
    for chunk in _chunks(candidates):
        added += _add_chunk(session, campaign.id, chunk, roots, first + added)
    if added:
        events.append(session, campaign.id, EventKind.CANDIDATES, added=added, first=first)
    return added


def _add_chunk(
    session: Session,
    campaign_id: int,
    candidates: Sequence[NewCandidate],
    roots: set[str],
    first: int,
) -> int:
    """Records what is new of some candidates; `roots` are hashes of those that are there."""
    of_key: dict[str, NewCandidate] = {}
    for candidate in candidates:
        of_key.setdefault(candidate.key, candidate)
    known = _known_keys(session, campaign_id, of_key)
    new = [c for key, c in of_key.items() if key not in known]
    if not new:
        return 0
    _add_roots(session, (c for c in new if c.root_sha not in roots))
    roots.update(c.root_sha for c in new)
    session.execute(
        insert(Candidate),
        [
            {
                "campaign_id": campaign_id,
                "position": position,
                "key": c.key,
                "formula": c.formula,
                "scope": c.scope,
                "root_sha": c.root_sha,
                "colouring": list(c.colouring),
                "papers": dict(c.papers),
            }
            for position, c in enumerate(new, start=first)
        ],
    )
    return len(new)


def rows(
    session: Session, campaign_id: int, *, tried_only: bool = False, named: str | None = None
) -> list[CandidateRow]:
    """Returns the pool, what experiments were planned of, or what has a key or formula, in order.

    The order is that of positions.
    """
    query = _columns().where(Candidate.campaign_id == campaign_id).order_by(Candidate.position)
    if tried_only:
        tried = select(Experiment.candidate_id).where(Experiment.campaign_id == campaign_id)
        query = query.where(Candidate.id.in_(tried))
    if named is not None:
        query = query.where(or_(Candidate.key == named, Candidate.formula == named))
    return [_row(row) for row in session.execute(query)]


def by_id(session: Session, ids: Iterable[int]) -> list[CandidateRow]:
    """Returns candidates by id, in order of id."""
    found: list[CandidateRow] = []
    for chunk in _chunks(sorted(set(ids))):
        query = _columns().where(Candidate.id.in_(chunk)).order_by(Candidate.id)
        found.extend(_row(row) for row in session.execute(query))
    return found


def _columns() -> Select[Any]:
    return select(
        Candidate.id,
        Candidate.position,
        Candidate.key,
        Candidate.formula,
        Candidate.scope,
        Candidate.root_sha,
        Candidate.colouring,
    )


def _row(row: Any) -> CandidateRow:
    return CandidateRow(
        id=row.id,
        position=row.position,
        key=row.key,
        formula=row.formula,
        scope=row.scope,
        root_sha=row.root_sha,
        colouring=tuple(row.colouring),
    )


def count(session: Session, campaign_id: int) -> int:
    """Returns the size of the pool: its positions have no gaps, and counting a million is slow."""
    last = session.scalar(
        select(func.max(Candidate.position)).where(Candidate.campaign_id == campaign_id)
    )
    return 0 if last is None else last + 1


def papers(session: Session, candidate_id: int) -> Mapping[str, Any]:
    """Returns a candidate's provenance."""
    found: Mapping[str, Any] | None = session.scalar(
        select(Candidate.papers).where(Candidate.id == candidate_id)
    )
    if found is None:
        raise LedgerError(f"There is no candidate with id {candidate_id}.", id=candidate_id)
    return found


def root(session: Session, sha: str) -> Mapping[str, Any]:
    """Returns a geometry root's JSON form."""
    found: Mapping[str, Any] | None = session.scalar(
        select(Structure.body).where(Structure.sha == sha)
    )
    if found is None:
        raise LedgerError(f"There is no structure with the hash {sha}.", sha=sha)
    return found


def put_embeddings(
    session: Session,
    encoder_id: str,
    strings: Sequence[str],
    vectors: npt.NDArray[np.float32],
) -> None:
    """Caches embeddings; strings already there are left alone."""
    import numpy as np

    matrix = np.ascontiguousarray(vectors, dtype="<f4")
    if matrix.ndim != 2 or len(matrix) != len(strings):
        raise LedgerError(
            f"{len(strings)} strings do not go with embeddings of shape {matrix.shape}.",
            hint="Give one row per string.",
        )
    new = [
        {"encoder_id": encoder_id, "string_sha": _sha(s), "vector": vector.tobytes()}
        for s, vector in zip(strings, matrix, strict=True)
    ]
    _insert_missing(session, Embedding, new)


def get_embeddings(
    session: Session, encoder_id: str, strings: Sequence[str]
) -> dict[str, npt.NDArray[np.float32]]:
    """Returns those of the strings' embeddings that are cached."""
    import numpy as np

    string_of = {_sha(s): s for s in strings}
    found: dict[str, npt.NDArray[np.float32]] = {}
    for chunk in _chunks(string_of):
        query = select(Embedding.string_sha, Embedding.vector).where(
            Embedding.encoder_id == encoder_id, Embedding.string_sha.in_(chunk)
        )
        for sha, vector in session.execute(query):
            found[string_of[bytes(sha)]] = np.frombuffer(vector, dtype="<f4").astype(np.float32)
    return found


def _known_keys(session: Session, campaign_id: int, keys: Iterable[str]) -> set[str]:
    """Returns the keys that the campaign's pool has."""
    known: set[str] = set()
    for chunk in _chunks(keys):
        known.update(
            session.scalars(
                select(Candidate.key).where(
                    Candidate.campaign_id == campaign_id, Candidate.key.in_(chunk)
                )
            )
        )
    return known


def _add_roots(session: Session, candidates: Iterable[NewCandidate]) -> None:
    """Records the geometry roots that are not there yet."""
    roots = {c.root_sha: c.root for c in candidates}
    at = now()
    new = [{"sha": sha, "body": dict(body), "created_at": at} for sha, body in roots.items()]
    _insert_missing(session, Structure, new)


def _insert_missing(
    session: Session, table: type[Structure | Embedding], new: list[dict[str, Any]]
) -> None:
    """Inserts rows, passing over those whose primary key is there, also by a concurrent writer."""
    if not new:
        return
    if session.get_bind().dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        session.execute(sqlite_insert(table).on_conflict_do_nothing(), new)
    else:
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        # In one order everywhere, else two writers could wait for each other.
        key = "sha" if table is Structure else "string_sha"
        ordered = sorted(new, key=lambda row: row[key])
        session.execute(postgresql_insert(table).on_conflict_do_nothing(), ordered)


def _chunks(values: Iterable[_T]) -> Iterator[list[_T]]:
    """Yields lists of at most `CHUNK` values."""
    iterator = iter(values)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _sha(string: str) -> bytes:
    return hashlib.sha256(string.encode("utf-8", "surrogatepass")).digest()
