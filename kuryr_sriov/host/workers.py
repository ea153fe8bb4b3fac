# SPDX-License-Identifier: Apache-2.0
"""Threads for work that may block in the kernel, used again and again.

A thread of its own for each request to the kernel would cost more than the
request.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Callable

MOST_IDLE = 16
"""Threads that wait for work; those beyond end."""

_idle: list[_Worker] = []
_lock = threading.Lock()


class Job:
    """Work that a worker does, and how far it has come."""

    def __init__(self, work: Callable[[], object], what: str) -> None:
        self.what = what
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
        """Leave it to its thread, if it is not finished; whether it was not.

        That thread ends with it, whenever the kernel lets it.
        """
        with self._lock:
            self._given_up = not self.is_finished
            return self._given_up

    def run(self, keep: Callable[[], bool]) -> bool:
        """Do it; whether its thread may do more, which ``keep`` decides.

        One whose work has failed may not: what it has left behind, such as
        the network namespace that it is in, is to reach nobody else.
        """
        try:
            self._context.run(self._work)
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
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def give(self, job: Job) -> None:
        self.name = job.what  # for who looks what a process hangs in
        self._jobs.put(job)

    def run(self) -> None:
        while self._jobs.get().run(self._keep):
            pass

    def _keep(self) -> bool:
        with _lock:
            if len(_idle) >= MOST_IDLE:
                return False
            self.name = 'idle'
            _idle.append(self)
            return True


def start(work: Callable[[], object], what: str) -> Job:
    """Have a thread do the work, in the caller's context.

    :param what: what the thread is called meanwhile.
    """
    job = Job(work, what)
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
