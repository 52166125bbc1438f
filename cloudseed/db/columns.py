"""How values stand in columns, alike on SQLite and PostgreSQL.

SQLite tables are STRICT, which knows only INTEGER, REAL, TEXT and BLOB; each type here says which
of them it uses there. JSON is text in canonical form on both: hashes and replays need the same
bytes back, and PostgreSQL's `jsonb` would reorder and reformat them.
"""
# ruff: noqa: ARG002  # the hooks of `TypeDecorator` are SQLAlchemy's

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import REAL, BigInteger, Boolean, DateTime, Double, Integer, Text
from sqlalchemy.types import TypeDecorator

from cloudseed.db.states import ExperimentState
from cloudseed.errors import LedgerError

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

__all__ = [
    "Flag",
    "Id",
    "Json",
    "Moment",
    "Real",
    "Seed",
    "State",
    "Words",
    "canonical",
    "now",
    "storable",
]

Id = BigInteger().with_variant(Integer, "sqlite")
"""Row ids and counters."""

Real: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")
"""Eight-byte floating point; PostgreSQL's REAL would have four."""


def now() -> datetime:
    """Returns the time, UTC."""
    return datetime.now(UTC)


def canonical(value: Any) -> str:
    """Returns the one JSON text of a value: sorted keys, no spaces, ASCII.

    Raises:
        LedgerError: If the value is not JSON; a NaN or infinity is not.

    >>> canonical({"b": 1, "a": [0.5, None]})
    '{"a":[0.5,null],"b":1}'
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise LedgerError(
            f"A value cannot be stored as JSON: {error}.",
            hint="Give plain dicts, lists, strings, finite numbers, booleans or None.",
        ) from error


def storable(text: str) -> str:
    """Returns text as both databases hold it, see `Words`."""
    if text.isascii() and "\0" not in text:
        return text
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


class Words(TypeDecorator[str]):
    """Text from anywhere, also from a lab.

    PostgreSQL stores no NUL and neither database a lone surrogate: both become U+FFFD, so that an
    odd message is kept rather than refused for ever.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class Json(TypeDecorator[Any]):
    """A JSON value in canonical form."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return canonical(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class Moment(TypeDecorator[datetime]):
    """A time in UTC: `timestamptz`, or ISO 8601 text of fixed width, which sorts as time does."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else self.impl_instance)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.astimezone(UTC)


class Flag(TypeDecorator[bool]):
    """A boolean; 0 or 1 on SQLite."""

    impl = Boolean
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else Boolean())

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> bool | None:
        return None if value is None else bool(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> bool | None:
        return None if value is None else bool(value)


class Seed(TypeDecorator[int]):
    """An integer of any size, as text: seeds have up to 128 bits."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        return None if value is None else str(int(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


class State(TypeDecorator[ExperimentState]):
    """An `ExperimentState`, by name."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: ExperimentState | None, dialect: Dialect) -> str | None:
        return None if value is None else ExperimentState(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> ExperimentState | None:
        return None if value is None else ExperimentState(value)
