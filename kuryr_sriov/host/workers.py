# SPDX-License-Identifier: Apache-2.0
"""Threads for work that may block in the kernel, used again and again.

A thread of its own for each request to the kernel would cost more than the
request.
"""

from __future__ import annotations

import contextvars
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

MOST_IDLE = 16
"""Threads that wait for work; those beyond end."""

_idle: list[_Worker] = []
_lock = threading.Lock()


class ThreadLost(BaseException):
    """Ends all that a thread does, past whatever handles errors in it.

    :ivar error: what the caller is told.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Bound(NamedTuple):
    """How long somebody waits for work.

    :param seconds: until the deadline, when the work began.
    :param what: is waited for, and what to do if it never comes.
    :param key: whose work it is; see ``wait.run_within``.
    """

    deadline: float = math.inf
    seconds: float = math.inf
    what: str = ''
    key: str = ''


class Job:
    """Work that a worker does, and how far it has come.

    :ivar bound: of the whole work, or of the part that is being done.
    """

    def __init__(self, work: Callable[[], object], bound: Bound) -> None:
        self.bound = bound
        self.raised: BaseException | None = None
        # A new thread has an empty context, and with that no deadline.
        self._context = contextvars.copy_context()
        self._work = work
        self._finished = threading.Event()
        self._given_up = False
        self._lock = threading.Lock()

    @property
    def is_finished(self) -> bool:
        """Whether it has come to its end."""
        return self._finished.is_set()

    def wait(self, seconds: float) -> bool:
        """Whether it is finished, after ``seconds`` at most."""
        return self._finished.wait(seconds)

    def give_up(self) -> bool:
        """Leave it to its thread, if it is overdue; whether it is.

        That thread ends with it, whenever the kernel lets it.
        """
        with self._lock:
            overdue = time.monotonic() >= self.bound.deadline
            self._given_up = overdue and not self.is_finished
            return self._given_up

    def run_part(self, work: Callable[[], object], bound: Bound) -> None:
        """Do a part that has a deadline of its own, in the job's thread.

        :raises ThreadLost: nobody waits for the job any more.
        """
        with self._lock:
            former, self.bound = self.bound, min(self.bound, bound)
        try:
            work()
        finally:
            with self._lock:
                if self._given_up:
                    raise ThreadLost(TimeoutError(bound.what))
                self.bound = former

    def run(self, keep: Callable[[], bool]) -> bool:
        """Do it; whether its thread may do more, which ``keep`` decides.

        One whose work has failed may not: what it has left behind, such as
        the network namespace that it is in, is to reach nobody else.
        """
        try:
            self._context.run(self._work)
        except ThreadLost as lost:
            self.raised = lost.error
        except BaseException as error:  # all of it is the caller's
            self.raised = error
        with self._lock:
            well = self.raised is None and not self._given_up
            # Before the caller goes on: its next work is for this thread.
            kept = well and keep()
            self._finished.set()
        return kept


class _Worker(threading.Thread):
    """Does one job after another."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.job: Job | None = None
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def give(self, job: Job) -> None:
        self.job = job
        self.name = job.bound.what  # for who looks what a process hangs in
        self._jobs.put(job)

    def run(self) -> None:
        while self._jobs.get().run(self._keep):
            pass

    def _keep(self) -> bool:
        with _lock:
            if len(_idle) >= MOST_IDLE:
                return False
            self.name = 'idle'
            self.job = None
            _idle.append(self)
            return True


def current_job() -> Job | None:
    """The job that this thread does, if it is a worker."""
    thread = threading.current_thread()
    return thread.job if isinstance(thread, _Worker) else None


def start(work: Callable[[], object], bound: Bound) -> Job:
    """Have a thread do the work, in the caller's context.

    :param bound: its ``what`` is what the thread is called meanwhile.
    """
    job = Job(work, bound)
    with _lock:
        worker = _idle.pop() if _idle else None
    if worker is None:
        worker = _Worker()
        worker.start()
    worker.give(job)
    return job


def _forget_all() -> None:
    """No thread but the one that forks lives on in its child (fork(2))."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


os.register_at_fork(after_in_child=_forget_all)
