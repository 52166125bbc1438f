"""A lab as the gateway's server sees it: one call at a time, each key once, events in order."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudseed.errors import CloudseedError, LabError
from cloudseed.lab_adapters.protocols import (
    DeliveryClass,
    Feature,
    Health,
    JobState,
    JobStatus,
    Outcome,
    OutcomeKind,
    PullLab,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudseed.lab_adapters.gateway.journal import Journal
    from cloudseed.lab_adapters.protocols import (
        EventPage,
        ExperimentRequest,
        LabDescription,
        LabMessage,
        OperableLab,
        Validation,
    )

__all__ = ["Desk"]

log = logging.getLogger(__name__)


class Desk:
    """Hands requests to a lab and keeps the journal.

    A lab of class B becomes one of class A here: the journal knows what was about to be sent, and
    asks the lab. A lab of class C stays one: what was in mid-send when the server died is in doubt.

    Args:
        lab: The lab; it is never called by two threads at once.
        journal: What must not be forgotten.
    """

    def __init__(self, lab: OperableLab, journal: Journal) -> None:
        self._lab = lab
        self._journal = journal
        self._lock = threading.RLock()
        self._noted: set[str] = set()

    def describe(self) -> LabDescription:
        """Returns what the lab says, with the feed of events that the journal adds."""
        with self._lock:
            can = self._lab.describe()
        careful = can.delivery is not DeliveryClass.C
        delivery = DeliveryClass.A if careful else DeliveryClass.C
        return replace(can, delivery=delivery, features=can.features | {Feature.EVENTS})

    def validate(self, request: ExperimentRequest) -> Validation:
        """Asks the lab."""
        with self._lock:
            return self._lab.validate(request)

    def submit(self, request: ExperimentRequest) -> str:
        """Hands a request over, once for each key, and returns the lab's handle.

        Raises:
            LabError: If the key stands for another request, the request is in doubt, or the lab
                does not take it.
        """
        text = json.dumps(request.to_json(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        with self._lock:
            handle, known = self._journal.begin(request.key, digest)
            again = handle is None and known
            if again and self._lab.describe().delivery is not DeliveryClass.A:
                handle = self._after_a_crash(request.key)
            if handle is None:
                handle = self._lab.submit(request)
                self._journal.sent(request.key, handle)
            return handle

    def _after_a_crash(self, key: str) -> str | None:
        if self._lab.describe().delivery is DeliveryClass.C:
            raise LabError(
                f"A crash hides whether the lab got {key!r}, and the lab cannot be asked.",
                hint="A person must look at the instrument; plan it again under a new key.",
            )
        handle = self._lab.lookup(key)
        if handle is not None:
            self._journal.sent(key, handle)
        return handle

    def poll(self, handles: Sequence[str]) -> Sequence[LabMessage]:
        """Asks the lab."""
        with self._lock:
            messages = self._lab.poll(handles)
            self._note(messages)
            return messages

    def watch(self) -> None:
        """Notes what the lab has to say about all that is open."""
        with self._lock:
            handles = self._journal.open_handles()
            if handles:
                self._note(self._lab.poll(handles))

    def _note(self, messages: Sequence[LabMessage]) -> None:
        """Writes down what ended and is not written down yet."""
        new = {m.message_id: m for m in messages if m.message_id not in self._noted}
        kinds = {name: _kind(m) for name, m in new.items()}
        ended = [new[n] for n, kind in kinds.items() if kind not in {None, OutcomeKind.UNKNOWN}]
        if ended:
            self._journal.take(ended)
        self._noted.update(n for n, kind in kinds.items() if kind is not OutcomeKind.UNKNOWN)

    def events(self, cursor: str | None) -> EventPage:
        """Returns what happened after a cursor."""
        self.watch()
        return self._journal.events(cursor)

    def cancel(self, handle: str) -> JobState:
        """Asks the lab."""
        with self._lock:
            return self._lab.cancel(handle)

    def safe_stop(self, reason: str) -> None:
        """Tells the lab."""
        with self._lock:
            self._lab.safe_stop(reason)

    def health(self) -> Health:
        """Asks the lab, and adds this machine's time where it has none."""
        with self._lock:
            found = self._lab.health()
        return replace(found, clock=found.clock or datetime.now(UTC))

    def reconcile(self, keys: Sequence[str]) -> Sequence[JobStatus]:
        """Says what became of each key, from the journal and the lab.

        Raises:
            LabError: If a key is in doubt.
        """
        with self._lock:
            found = []
            for key in keys:
                handle, known = self._journal.handle(key)
                if handle is None and known:
                    handle = self._after_a_crash(key)
                if handle is None:
                    found.append(JobStatus(key, None, JobState.UNKNOWN))
                elif self._lab.describe().delivery is DeliveryClass.C:
                    found.append(JobStatus(key, handle, self._seen(handle)))
                else:
                    (status,) = self._lab.reconcile([key])
                    found.append(replace(status, handle=handle))
            return found

    def _seen(self, handle: str) -> JobState:
        return JobState.FINISHED if self._lab.poll([handle]) else JobState.RUNNING

    @property
    def mailbox(self) -> PullLab:
        """The lab, where it hands out work.

        Raises:
            LabError: If it does not.
        """
        if isinstance(self._lab, PullLab):
            return self._lab
        raise LabError(
            f"The lab {self._lab.describe().name!r} hands out no work.",
            hint="`cloudseed lab serve mailbox` does.",
        )

    def close(self) -> None:
        """Lets go of the lab and the journal."""
        with self._lock:
            self._lab.close()
            self._journal.close()


def _kind(message: LabMessage) -> OutcomeKind | None:
    """Returns what a message means; None for one that is no outcome, which ends nothing."""
    try:
        return Outcome.from_json(message.raw).kind
    except (CloudseedError, RecursionError):
        log.warning("the message %s about %s is no outcome", message.message_id, message.key)
        return None
