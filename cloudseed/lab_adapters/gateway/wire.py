"""What goes over the wire, as the OpenAPI document shows it."""

from __future__ import annotations

import base64
from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from cloudseed.lab_adapters.protocols import (
    EventPage,
    Health,
    JobState,
    JobStatus,
    LabDescription,
    LabEvent,
    LabMessage,
    Validation,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MOST",
    "Completion",
    "Events",
    "Handle",
    "Handles",
    "Held",
    "Keys",
    "LeaseOrder",
    "Message",
    "Reason",
    "Renewal",
    "Request",
    "decode",
    "encode",
    "events_in",
    "events_out",
    "messages_in",
    "messages_out",
]

MOST = 1000
"""Handles or keys in one request."""

Text = Annotated[str, Field(max_length=4000)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Request(_Wire):
    """An experiment, as `ExperimentRequest.to_json` gives it."""

    key: Text
    label: Text
    candidate: Text
    cell: dict[str, Any]
    properties: Annotated[list[Text], Field(max_length=100)]
    recipe: dict[str, Any] | None = None


class Handle(_Wire):
    """A handle."""

    handle: Text


class Handles(_Wire):
    """Handles."""

    handles: Annotated[list[Text], Field(max_length=MOST)]


class Keys(_Wire):
    """Idempotency keys."""

    keys: Annotated[list[Text], Field(max_length=MOST)]


class Reason(_Wire):
    """Why."""

    reason: Text


class Message(_Wire):
    """A message; `raw` is the outcome's bytes in base64."""

    message_id: Text
    key: Text
    raw: str


class Event(_Wire):
    """An event."""

    key: Text
    handle: Text | None
    state: str
    at: datetime
    message: Message | None


class Events(_Wire):
    """A page of events and the cursor after it."""

    events: list[Event]
    cursor: str


class LeaseOrder(_Wire):
    """A worker that asks for jobs for so many seconds."""

    worker: Text
    count: Annotated[int, Field(ge=1, le=100)] = 1
    seconds: Annotated[float, Field(gt=0, le=86_400)]


class Held(_Wire):
    """A job that a worker holds."""

    handle: Text
    request: Request
    token: Text
    until: datetime


class Renewal(_Wire):
    """A lease to be held for longer."""

    token: Text
    seconds: Annotated[float, Field(gt=0, le=86_400)]


class Completion(_Wire):
    """A job's outcome; `raw` is its bytes in base64."""

    token: Text
    raw: str


_DESCRIPTION: TypeAdapter[LabDescription] = TypeAdapter(LabDescription)
_VALIDATION: TypeAdapter[Validation] = TypeAdapter(Validation)
_HEALTH: TypeAdapter[Health] = TypeAdapter(Health)
_STATUSES: TypeAdapter[list[JobStatus]] = TypeAdapter(list[JobStatus])
_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "description": _DESCRIPTION,
    "validation": _VALIDATION,
    "health": _HEALTH,
    "statuses": _STATUSES,
}


def encode(kind: str, value: object) -> Any:
    """Returns plain values of a description, validation, health or list of statuses."""
    return _ADAPTERS[kind].dump_python(value, mode="json")


def decode(kind: str, data: object) -> Any:
    """Reads what `encode` gave.

    Raises:
        ValueError: If it is something else.
    """
    return _ADAPTERS[kind].validate_python(data)


def messages_out(messages: Iterable[LabMessage]) -> list[Message]:
    """Returns messages as they go over the wire."""
    return [_message(m) for m in messages]


def messages_in(data: Iterable[Any]) -> list[LabMessage]:
    """Reads messages.

    Raises:
        ValueError: If they are none.
    """
    return [_lab_message(Message.model_validate(m)) for m in data]


def events_out(page: EventPage) -> Events:
    """Returns a page of events as it goes over the wire."""
    events = [
        Event(
            key=e.status.key,
            handle=e.status.handle,
            state=e.status.state.value,
            at=e.at,
            message=None if e.message is None else _message(e.message),
        )
        for e in page.events
    ]
    return Events(events=events, cursor=page.cursor)


def events_in(data: object) -> EventPage:
    """Reads a page of events.

    Raises:
        ValueError: If it is none.
    """
    found = Events.model_validate(data)
    events = tuple(
        LabEvent(
            JobStatus(e.key, e.handle, JobState(e.state)),
            e.at,
            None if e.message is None else _lab_message(e.message),
        )
        for e in found.events
    )
    return EventPage(events, found.cursor)


def _message(message: LabMessage) -> Message:
    raw = base64.b64encode(message.raw).decode()
    return Message(message_id=message.message_id, key=message.key, raw=raw)


def _lab_message(m: Message) -> LabMessage:
    return LabMessage(m.message_id, m.key, base64.b64decode(m.raw, validate=True))
