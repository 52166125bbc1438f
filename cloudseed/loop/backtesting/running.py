"""Replays a campaign over methods and seeds, on as many processes as wanted."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cloudseed.errors import CloudseedError, UsageError
from cloudseed.loop.backtesting.pool import known_pool
from cloudseed.loop.backtesting.records import Records
from cloudseed.loop.backtesting.report import Backtest
from cloudseed.loop.pool import feature_blocks
from cloudseed.surrogate import guess, wants_hints, with_derived
from cloudseed.surrogate.backtesting import (
    PEERS,
    Conduct,
    Rules,
    Run,
    StopRule,
    Truth,
    composition_features,
    load_searcher,
    replay,
    start_rows,
    unit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from cloudseed.loop.backtesting.pool import KnownPool
    from cloudseed.loop.backtesting.settings import BacktestSettings
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.surrogate import Features, Guess, ModelSettings
    from cloudseed.surrogate.backtesting import Searcher, StartKind

__all__ = ["Job", "backtest", "replays"]

_RECORDS = "runs.jsonl"
_THREADS = "OMP_NUM_THREADS"
_SEEN = (
    "the encoder's heads of {} are the prior mean: if the table was among what they were trained"
    " on, as the Materials Project is for the shipped ones, the figures flatter; --no-heads leaves"
    " them out"
)


@dataclass(frozen=True, eq=False)
class Job:
    """What the runs of a back-test have in common.

    Attributes:
        features: As in `decide`, N rows.
        truth: What would be measured.
        initial: Experiments before a method chooses.
        start: How those are chosen.
        budget: Experiments per run.
        batch: Experiments that run at the same time.
        arriving: Results that come at a time.
        hints: What chemistry says of each candidate's band gap, N; None where it is no matter.
        conduct: How `cloud` chooses, beside its models.
        rule: When a campaign would stop; None for the budget alone. Runs go on all the same.
        guesses: What the encoder's heads predict of each property.
        models: What models the properties; None for what suits each.
        descriptors: What peers see in place of the features, N x d in [0, 1]; None where no peer
            is compared.
    """

    features: Features | npt.NDArray[Any]
    truth: Truth
    initial: int
    start: StartKind
    budget: int
    batch: int
    arriving: int
    hints: npt.NDArray[np.float64] | None = None
    conduct: Conduct = field(default_factory=Conduct)
    rule: StopRule | None = None
    guesses: Mapping[str, Guess] | None = None
    models: ModelSettings | None = None
    descriptors: npt.NDArray[np.float64] | None = None

    def searcher(self, method: str) -> Searcher:
        """Makes a method ready for one run.

        Raises:
            UsageError: If there is none of that name.
            MissingDependencyError: If it needs a library that is not installed.
        """
        return load_searcher(
            method,
            self.features,
            self.truth.problem,
            self.hints,
            self.conduct,
            guesses=self.guesses,
            models=self.models,
            descriptors=self.descriptors,
        )

    def run(self, method: str, seed: int) -> Run:
        """Replays one campaign."""
        searcher = self.searcher(method)
        first = start_rows(self.features, self.initial, seed, self.start)
        rules = Rules(self.budget, self.batch, self.arriving, seed)
        if self.rule is not None:
            rules = replace(rules, ahead=self.rule.ahead, epsilon=self.rule.epsilon)
        return replay(searcher, self.truth, first, rules)


def backtest(
    spec: CampaignSpec,
    table: Path,
    out: Path,
    settings: BacktestSettings,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Backtest:
    """Replays a campaign on known data.

    Every finished run is written to `out` at once; called again with the same settings, this goes
    on where it was stopped.

    Args:
        spec: The campaign; its goal, encoder, batch, initial, seed, budget and `decide` are used.
        table: A CSV, Parquet table or folder of CIFs with the values of every property.
        out: Where runs and the embedded pool are kept.
        settings: What is compared.
        progress: Told the task, how much is done and how much there is.

    Raises:
        InputError: If the table cannot be used, or has no hits.
        EmptyPoolError: If it holds fewer than two materials.
        UsageError: If a setting is impossible.
        MissingDependencyError: If a method needs a library that is not installed.
    """
    problem = spec.problem
    pool = known_pool(
        table,
        problem.measured,
        out,
        encoder=spec.encoder,
        features=settings.features,
        skip_bad=settings.skip_bad,
        progress=progress,
    )
    truth = Truth.of(problem, with_derived(problem.derived, pool.values), share=settings.share)
    budget = min(settings.budget or spec.budget.experiments, len(pool.names))
    if budget <= spec.initial:
        raise UsageError(
            f"A budget of {budget} is spent by the first {spec.initial} experiments.",
            hint="Give a larger budget, or a smaller `initial`.",
        )
    features = feature_blocks(spec.decide.features, pool.features, pool.elements, pool.sites)
    wanted_heads = settings.heads and spec.surrogate.prior == "heads" and pool.encoder_id
    guesses = (
        guess(
            spec.encoder, pool.encoder_id, pool.features, problem.properties, spec.surrogate.heads
        )
        if wanted_heads
        else {}
    )
    notes = [_SEEN.format(", ".join(guesses))] if guesses else []
    peers = [method for method in settings.methods if method in PEERS]
    descriptors = _descriptors(pool) if peers else None
    if descriptors is not None:
        what = "the features given" if pool.strings is None else "descriptors of composition"
        notes.append(f"seen by {', '.join(peers)}: {what}, {descriptors.shape[1]} in [0, 1]")
    job = Job(
        features=features,
        truth=truth,
        initial=spec.initial,
        start=settings.start,
        budget=budget,
        batch=spec.batch,
        arriving=settings.arriving or spec.batch,
        hints=pool.hints if wants_hints(problem) else None,
        conduct=_conduct(spec, pool),
        rule=_rule(spec),
        guesses=guesses,
        models=spec.surrogate.settings,
        descriptors=descriptors,
    )
    for method in settings.methods:
        job.searcher(method)  # a misspelt one is an error at once
    records = {
        method: Records(out / _RECORDS, settings.sha(spec, pool.sha, method), spec.name)
        for method in settings.methods
    }
    seeds = [spec.seed + i for i in range(settings.seeds)]
    wanted = [(method, seed) for seed in seeds for method in settings.methods]
    todo = [key for key in wanted if key not in records[key[0]].runs]
    done = len(wanted) - len(todo)
    progress("replaying", done, len(wanted))
    with closing(replays(job, todo, settings.workers)) as finished:
        for method, seed, run in finished:
            records[method].add(method, seed, run)
            done += 1
            progress("replaying", done, len(wanted))
    return Backtest(
        name=spec.name,
        table=str(table),
        budget=job.budget,
        batch=job.batch,
        initial=spec.initial,
        truth=truth,
        runs={m: tuple(records[m].runs[m, s] for s in seeds) for m in settings.methods},
        notes=(*pool.notes, *notes),
        rule=job.rule,
    )


def _conduct(spec: CampaignSpec, pool: KnownPool) -> Conduct:
    """Returns how the campaign chooses.

    Raises:
        UsageError: If its costs go by elements and the materials are not told.
    """
    decide = spec.decide
    if decide.cost.elements and pool.strings is None:
        raise UsageError(
            "decide.cost goes by elements, which a matrix of features does not tell.",
            hint="Leave --features or decide.cost out.",
        )
    costs = None if pool.strings is None else decide.cost.of(pool.strings)
    return Conduct(decide.strategy, decide.exploration, decide.alarm, decide.recalibrate, costs)


def _descriptors(pool: KnownPool) -> npt.NDArray[np.float64]:
    """Returns what peers see: compositions, or features that a user gives.

    Raises:
        InputError: If they tell no two materials apart.
    """
    return unit(pool.features) if pool.strings is None else composition_features(pool.strings)


def _rule(spec: CampaignSpec) -> StopRule | None:
    """Returns the campaign's rule on what is still expected, if it has one."""
    hits, regret = spec.stop.expected_hits, spec.stop.regret
    if hits is not None:
        return StopRule(below=hits.below, ahead=hits.next)
    if regret is not None:
        return StopRule(epsilon=regret.epsilon, probability=regret.probability)
    return None


def replays(
    job: Job, wanted: Sequence[tuple[str, int]], workers: int = 1
) -> Generator[tuple[str, int, Run], None, None]:
    """Yields runs as they finish.

    Args:
        job: What they have in common.
        wanted: Method and seed of each.
        workers: Processes; with one, everything happens in this process.

    Raises:
        CloudseedError: If a process dies.
    """
    if workers <= 1 or len(wanted) <= 1:
        for method, seed in wanted:
            yield method, seed, job.run(method, seed)
        return
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(
        min(workers, len(wanted)), multiprocessing.get_context("spawn"), _begin, (job,)
    )
    try:
        with _one_thread():
            futures = {executor.submit(_one, *key): key for key in wanted}
        for future in as_completed(futures):
            yield (*futures[future], future.result())
    except BrokenProcessPool as error:
        raise CloudseedError(
            "A process of the back-test died.",
            hint="Memory may be short: run it again with fewer workers; finished runs are kept.",
        ) from error
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()


_JOB: list[Job] = []


@contextmanager
def _one_thread() -> Iterator[None]:
    """Lets processes that start meanwhile compute in one thread each.

    Libraries read it when they are loaded, which is before a process runs anything of ours.
    """
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_THREADS]
        if before is not None:
            os.environ[_THREADS] = before


def _begin(job: Job) -> None:
    """Prepares a process: Ctrl-C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _JOB[:] = [job]


def _one(method: str, seed: int) -> Run:
    return _JOB[0].run(method, seed)
