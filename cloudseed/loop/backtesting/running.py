"""Replays a campaign over methods and seeds, on as many processes as wanted."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudseed.errors import CloudseedError, UsageError
from cloudseed.loop.backtesting.pool import known_pool
from cloudseed.loop.backtesting.records import Records
from cloudseed.loop.backtesting.report import Backtest
from cloudseed.surrogate import guess, wants_hints
from cloudseed.surrogate.backtesting import Rules, Run, Truth, load_searcher, replay, start_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from cloudseed.loop.backtesting.settings import BacktestSettings
    from cloudseed.loop.spec import CampaignSpec
    from cloudseed.surrogate import Guess, ModelSettings
    from cloudseed.surrogate.backtesting import StartKind

__all__ = ["Job", "backtest", "replays"]

_RECORDS = "runs.jsonl"
_SEEN = (
    "the encoder's heads of {} are the prior mean: if the table was among what they were trained"
    " on, as the Materials Project is for the shipped ones, the figures flatter; --no-heads leaves"
    " them out"
)


@dataclass(frozen=True, eq=False)
class Job:
    """What the runs of a back-test have in common.

    Attributes:
        features: N x d.
        truth: What would be measured.
        initial: Experiments before a method chooses.
        start: How those are chosen.
        budget: Experiments per run.
        batch: Experiments that run at the same time.
        arriving: Results that come at a time.
        hints: What chemistry says of each candidate's band gap, N; None where it is no matter.
        guesses: What the encoder's heads predict of each property.
        models: What models the properties; None for what suits each.
    """

    features: npt.NDArray[Any]
    truth: Truth
    initial: int
    start: StartKind
    budget: int
    batch: int
    arriving: int
    hints: npt.NDArray[np.float64] | None = None
    guesses: Mapping[str, Guess] | None = None
    models: ModelSettings | None = None

    def run(self, method: str, seed: int) -> Run:
        """Replays one campaign."""
        searcher = load_searcher(
            method,
            self.features,
            self.truth.problem,
            self.hints,
            guesses=self.guesses,
            models=self.models,
        )
        first = start_rows(self.features, self.initial, seed, self.start)
        rules = Rules(self.budget, self.batch, self.arriving, seed)
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
        spec: The campaign; its goal, encoder, batch, initial, seed and budget are used.
        table: A CSV, Parquet table or folder of CIFs with the values of every property.
        out: Where runs and the embedded pool are kept.
        settings: What is compared.
        progress: Told the task, how much is done and how much there is.

    Raises:
        InputError: If the table cannot be used, or has no hits.
        EmptyPoolError: If it holds fewer than two materials.
        UsageError: If a setting is impossible.
    """
    problem = spec.problem
    pool = known_pool(
        table,
        problem.properties,
        out,
        encoder=spec.encoder,
        features=settings.features,
        skip_bad=settings.skip_bad,
        progress=progress,
    )
    truth = Truth.of(problem, pool.values, share=settings.share)
    budget = min(settings.budget or spec.budget.experiments, len(pool.names))
    if budget <= spec.initial:
        raise UsageError(
            f"A budget of {budget} is spent by the first {spec.initial} experiments.",
            hint="Give a larger budget, or a smaller `initial`.",
        )
    wanted_heads = settings.heads and spec.surrogate.prior == "heads" and pool.encoder_id
    guesses = (
        guess(
            spec.encoder, pool.encoder_id, pool.features, problem.properties, spec.surrogate.heads
        )
        if wanted_heads
        else {}
    )
    notes = [_SEEN.format(", ".join(guesses))] if guesses else []
    job = Job(
        features=pool.features,
        truth=truth,
        initial=spec.initial,
        start=settings.start,
        budget=budget,
        batch=spec.batch,
        arriving=settings.arriving or spec.batch,
        hints=pool.hints if wants_hints(problem) else None,
        guesses=guesses,
        models=spec.surrogate.settings,
    )
    for method in settings.methods:
        load_searcher(method, pool.features, problem)  # a misspelt one is an error at once
    records = Records(out / _RECORDS, settings.sha(spec, pool.sha), spec.name)
    seeds = [spec.seed + i for i in range(settings.seeds)]
    wanted = [(method, seed) for seed in seeds for method in settings.methods]
    todo = [key for key in wanted if key not in records.runs]
    done = len(wanted) - len(todo)
    progress("replaying", done, len(wanted))
    with closing(replays(job, todo, settings.workers)) as finished:
        for method, seed, run in finished:
            records.add(method, seed, run)
            done += 1
            progress("replaying", done, len(wanted))
    return Backtest(
        name=spec.name,
        table=str(table),
        budget=job.budget,
        batch=job.batch,
        initial=spec.initial,
        truth=truth,
        runs={m: tuple(records.runs[m, s] for s in seeds) for m in settings.methods},
        notes=(*pool.notes, *notes),
    )


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


def _begin(job: Job) -> None:
    """Prepares a process: one thread, and Ctrl-C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    _JOB[:] = [job]


def _one(method: str, seed: int) -> Run:
    return _JOB[0].run(method, seed)
