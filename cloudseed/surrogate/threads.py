"""One thread for the linear algebra of decisions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps NumPy's and SciPy's linear algebra to one thread; a context, or what decorates.

    A decision is thousands of small products and triangular solves. Threads that share each of
    these out wait for one another most of the time: `docs/benchmarks.md` has the figures. It is for
    the whole process, as the libraries have it.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
