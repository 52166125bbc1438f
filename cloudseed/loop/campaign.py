"""The campaign: a reconciler whose `step` may be killed at any instant and run again."""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from cloudseed import __version__
from cloudseed.db import ExperimentState, Wish, open_ledger
from cloudseed.errors import LabError
from cloudseed.loop.collecting import collect
from cloudseed.loop.context import Context
from cloudseed.loop.descriptions import look
from cloudseed.loop.descriptions import room as room_in_labs
from cloudseed.loop.dispatching import dispatch, recover
from cloudseed.loop.encoders import in_force
from cloudseed.loop.laboratories import elements_of, opened_labs
from cloudseed.loop.mirror import Mirror
from cloudseed.loop.patience import pause
from cloudseed.loop.planning import plan
from cloudseed.loop.pool import (
    RECORDED_TOGETHER,
    CrystalShelf,
    load_pool,
    parents_from_config,
    record_pool,
)
from cloudseed.loop.proposing import propose_from
from cloudseed.loop.pulse import Pulse
from cloudseed.loop.recipe import Recipe
from cloudseed.loop.regrowing import observers_of, regrown
from cloudseed.loop.review import Review, Shown
from cloudseed.loop.safety.gate import rest_if_unattended, too_many_refusals
from cloudseed.loop.snapshot import Snapshot, take_snapshot
from cloudseed.loop.stopping import room, stop_reason, wants_more
from cloudseed.loop.synthesis import is_held, may_be_refilled, why_held
from cloudseed.loop.workspace import Workspace, campaign_of
from cloudseed.proposers import read_parents
from cloudseed.surrogate import CloudEncoder, check_heads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudseed.db import Ledger
    from cloudseed.loop.proposing import Proposed
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.proposers import Parent

__all__ = ["Campaign", "create_campaign", "open_campaign"]

log = logging.getLogger(__name__)

POLL_INTERVAL = 0.2
"""Seconds between two looks at a lab that had nothing to say."""

_HEARTBEAT = 2.0
_LAB_TRIES = 8
_LONGEST_WAIT = 30.0


class Campaign:
    """A running campaign: the one object with state.

    Args:
        context: Its parts.
        pulse: What renews the lease; None for one of its own while it runs.
    """

    def __init__(self, context: Context, pulse: Pulse | None = None) -> None:
        mirror = Mirror(context.ledger, context.campaign.id)
        self.context = replace(context, ledger=cast("Ledger", mirror))
        self._pulse = pulse
        self.spec = context.spec
        self._ledger = self.context.ledger
        self._claim = context.claim
        self._id = context.campaign.id
        self._beat = 0.0
        self._review = Review()
        self._grew = -1
        self._stage: Callable[[str], None] = lambda _: None

    def snapshot(self) -> Snapshot:
        """Returns where the campaign stands."""
        row = self._ledger.campaign(self.context.campaign.name)
        assert row is not None
        return take_snapshot(self._ledger, row, self.spec, self.context.results())

    def step(self) -> bool:
        """Collects, plans and dispatches once; returns whether anything happened.

        While people wish a pause or an orderly end, it only collects.

        Raises:
            LabError: If no lab can be reached; what the others had to say is taken in.
            StorageError: If the ledger cannot be written.
        """
        self._heartbeat()
        rest_if_unattended(self.context)
        moved, trouble = 0, None
        idle = self._ledger.wished(self._id)[0] is not Wish.RUN
        deeds = [self._look, self._recover, self._collect] + (
            [] if idle else [self._plan, self._dispatch]
        )
        for deed in deeds:
            try:
                moved += deed()
            except LabError as error:
                trouble = trouble or error
        if trouble is not None and not moved and self._all_fail():
            raise trouble
        return moved > 0

    def run(
        self,
        on_step: Callable[[Snapshot], None] = lambda _: None,
        stopping: Callable[[], bool] = lambda: False,
        on_trouble: Callable[[str], None] = lambda _: None,
        *,
        tries: int | None = _LAB_TRIES,
        on_overdue: Callable[[str], None] = lambda _: None,
    ) -> Snapshot:
        """Steps until the campaign is finished or told to stop.

        Args:
            on_step: Called with the state of affairs after steps in which something happened; as
                often as it takes little of the time.
            stopping: Asked before each step; True leaves what is in flight to a later `resume`.
            on_trouble: Told when no lab can be reached and they are tried again; "" when one
                answers.
            tries: Failures in a row of all labs after which the campaign stops; None for never.
            on_overdue: Told, in another thread, when a step has missed its deadline.

        Raises:
            LabError: If the labs stay out of reach.
        """
        if self.context.campaign.status == "finished":
            return self.snapshot()
        self._ledger.set_status(self._claim, "running")
        shown = Shown(on_step, self.snapshot)
        shown.now()
        failures = 0
        with ExitStack() as stack:
            pulse = self._pulse or stack.enter_context(Pulse(self._ledger, self._claim))
            pulse.limit(self.spec.step_deadline, on_overdue)
            wait = stack.enter_context(self._ledger.listening(self._id))
            while not stopping():
                self._stage = pulse.stage
                pulse.stage("looking around")
                if (why := self._told_to_stop()) is not None:
                    self._ledger.set_status(self._claim, "stopped", why)
                    self._ledger.wish(self._id, Wish.RUN, "done as wished")
                    return self.snapshot()
                try:
                    moved = self.step()
                    if failures and (moved or not self._all_fail()):
                        on_trouble("")
                        failures = 0
                except LabError as error:
                    failures += 1
                    if tries is not None and failures >= tries:
                        self._ledger.set_status(self._claim, "stopped", error.message)
                        raise
                    on_trouble(f"the lab cannot be reached, trying again: {error.message}")
                    pulse.stage("waiting to try the lab again")
                    _wait(pause(failures, longest=_LONGEST_WAIT), stopping, wait)
                    continue
                if moved:
                    shown.perhaps()
                elif (reason := self._finished()) is not None:
                    status, why = reason
                    self._ledger.set_status(self._claim, status, why)
                    return shown.now()
                else:
                    wait(POLL_INTERVAL)
        self._ledger.set_status(self._claim, "stopped", "asked by the user")
        return self.snapshot()

    def _look(self) -> int:
        self._stage("asking the labs what they take")
        look(self.context)
        return 0

    def _recover(self) -> int:
        recover(self.context)
        return 0

    def _collect(self) -> int:
        self._stage("asking the labs")
        heard = collect(self.context)
        self._review.news += heard
        return heard

    def _dispatch(self) -> int:
        self._stage("sending experiments")
        return dispatch(self.context)

    def _all_fail(self) -> bool:
        """Whether every lab failed when it was last asked."""
        health = self._ledger.health(self._id)
        return all(name in health and health[name].failures for name in self.context.labs)

    def _told_to_stop(self) -> str | None:
        """Returns why people want the engine to end now, or None."""
        wish, why = self._ledger.wished(self._id)
        because = f": {why}" if why else ""
        if wish is Wish.STOP:
            return f"asked by the user{because}"
        busy = [ExperimentState.SENDING, ExperimentState.RUNNING]
        if wish is Wish.DRAIN and not self._ledger.experiments(self._id, busy):
            return f"asked by the user, once the labs were done{because}"
        return too_many_refusals(self.context) if wish is Wish.RUN else None

    def _plan(self) -> int:
        """Plans the next batch if the lab would be idle without one; cancels it if all is over.

        The pool grows first, where that is due.
        """
        self._stage("planning")
        busy = [ExperimentState.RUNNING, ExperimentState.SENDING]
        running = Counter(e.lab for e in self._ledger.experiments(self._id, busy))
        if room_in_labs(self.context, running) <= 0:
            return 0
        waiting = self._ledger.experiments(self._id, [ExperimentState.PLANNED])
        # What waits for a shelf keeps nothing else from being made.
        planned = [e for e in waiting if not is_held(e)]
        if planned and not self._review.due():
            return 0
        now = self._review.taken(self.snapshot)
        held = len(waiting) > len(planned)
        if not planned and wants_more(self.spec, now) and not (held and self._grew == now.rounds):
            self._grew = now.rounds
            self.context = regrown(self.context, now)
            now = replace(now, pool=len(self.context.pool.rows))
        if stop_reason(self.spec, now) is not None:
            for experiment in waiting:
                self._ledger.transition(
                    self._claim, experiment.id, ExperimentState.CANCELLED, "the campaign is over"
                )
            return len(waiting)
        batch = min(self.spec.batch, room(self.spec, now))
        if planned or batch == 0:
            return 0
        plan(self.context, batch)
        return 1

    def _finished(self) -> tuple[str, str] | None:
        """Returns the final status and the reason, or None while there is something to wait for."""
        opened = self._ledger.experiments(self._id, [s for s in ExperimentState if not s.terminal])
        doubtful = [e for e in opened if e.state is ExperimentState.IN_DOUBT]
        if opened and len(doubtful) == len(opened):
            return "stopped", f"{len(doubtful)} experiments are in doubt and wait for a person"
        held = [] if may_be_refilled(self.spec) else [e for e in opened if is_held(e)]
        if held and len(doubtful) + len(held) == len(opened):
            return "stopped", why_held(held)
        if opened:
            return None
        reason = stop_reason(self.spec, self.snapshot())
        return None if reason is None else ("finished", reason)

    def _heartbeat(self) -> None:
        now = time.monotonic()
        if now - self._beat > _HEARTBEAT:
            self._beat = now
            self._ledger.heartbeat(self._claim)


def _wait(seconds: float, stopping: Callable[[], bool], wait: Callable[[float], bool]) -> None:
    """Waits, but not past a wish to stop, nor past what people say."""
    end = time.monotonic() + seconds
    while not stopping() and (left := end - time.monotonic()) > 0:
        if wait(min(left, POLL_INTERVAL)):
            return


def create_campaign(
    spec: CampaignSpec, out: Path, stage: Callable[[str], None] = lambda _: None
) -> Workspace:
    """Generates a campaign's candidates and records them in a new run folder.

    Everything that can be checked is checked before the folder is made, so that a corrected spec
    can be run again.

    Args:
        spec: What the owner asks for.
        out: The run folder.
        stage: Told in a few words what takes time.

    Raises:
        UsageError: If the folder holds a campaign, or a parent or the spec cannot be used.
    """
    Workspace.refuse_existing(out, spec.name)
    stage("reading parents")
    parents = _parents(spec)
    with TemporaryDirectory() as scratch, opened_labs(spec, Path(scratch)) as labs:
        elements = elements_of(labs)
        described = [
            {"name": name, "simulated": lab.describe().simulated} for name, lab in labs.items()
        ]
    stage("loading the encoder")
    encoder = _load_encoder(spec.encoder)
    if spec.surrogate.prior == "heads":
        check_heads(spec.encoder, encoder.id, encoder.dimension, spec.surrogate.heads)
    stage("proposing candidates")
    proposed = _propose(spec, parents, elements, encoder)
    workspace = Workspace.create(out, spec.name, spec.ledger)
    config = {
        "spec": spec.model_dump(mode="json"),
        "parents": [
            {"name": p.name, "source": p.source, "cell": p.crystal.build().to_json()}
            for p in parents
        ],
        "proposed": proposed.summary(),
        "lab": described[0],
        "labs": described,
        "cloudseed": __version__,
    }
    ledger = open_ledger(workspace.ledger_url)
    try:
        row = ledger.create_campaign(spec.name, config)
        with ledger.claim(row.id) as claim, Pulse(ledger, claim):
            record_pool(ledger, claim, proposed, progress=_recording(stage))
    finally:
        ledger.close()
    return workspace


@contextmanager
def open_campaign(
    workspace: Workspace, stage: Callable[[str], None] = lambda _: None
) -> Iterator[Campaign]:
    """Claims a campaign and makes it ready to step.

    Args:
        workspace: Its run folder.
        stage: Told in a few words what takes time.

    Raises:
        CampaignRunningError: If another engine drives it.
        ObjectiveError: If no lab can measure what is asked for.
    """
    with ExitStack() as stack:
        ledger = open_ledger(workspace.ledger_url, create=False)
        stack.callback(ledger.close)
        row, spec = campaign_of(ledger, workspace)
        spec = in_force(ledger, row, spec)
        claim = stack.enter_context(ledger.claim(row.id))
        pulse = stack.enter_context(Pulse(ledger, claim))
        labs = stack.enter_context(opened_labs(spec, workspace.lab))
        (label, lab), *others = labs.items()
        stage("loading the encoder")
        encoder = _load_encoder(spec.encoder)
        parents = parents_from_config(row.config["parents"], spec.symprec)
        # A kill may have left a part of the pool.
        if ledger.count_candidates(row.id) < row.config.get("proposed", {}).get("kept", 1):
            stage("proposing candidates")
            proposed = _propose(spec, parents, elements_of(labs), encoder)
            record_pool(ledger, claim, proposed, progress=_recording(stage))
        stage("embedding candidates")
        pool = load_pool(ledger, row.id, encoder, workspace.embeddings)
        yield Campaign(
            Context(
                ledger,
                claim,
                row,
                spec,
                lab,
                pool,
                CrystalShelf(ledger, parents),
                parents,
                observers_of(spec),
                encoder,
                workspace.embeddings,
                label,
                dict(others),
            ),
            pulse,
        )


def _recording(stage: Callable[[str], None]) -> Callable[[int, int], None]:
    """Returns what tells of candidates that are recorded in several goes."""

    def told(done: int, count: int) -> None:
        if count > RECORDED_TOGETHER:
            stage(f"recording candidates, {done:,} of {count:,}")

    return told


def _parents(spec: CampaignSpec) -> tuple[Parent, ...]:
    if not spec.parents:
        return ()
    return read_parents(
        spec.parents, symprec=spec.symprec, disorder=spec.disorder, skip_bad=spec.skip_bad
    ).parents


def _propose(
    spec: CampaignSpec,
    parents: tuple[Parent, ...],
    elements: frozenset[str] | None,
    encoder: CloudEncoder,
) -> Proposed:
    recipe = Recipe.of(spec)
    return propose_from(recipe, parents, elements=elements, dialect=encoder.dialect)


@lru_cache(maxsize=1)
def _load_encoder(name: str) -> CloudEncoder:
    """Loads an encoder; a new campaign needs it to write SCOPE strings and then to read them."""
    return CloudEncoder.load(name)
