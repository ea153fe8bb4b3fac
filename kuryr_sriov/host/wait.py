# SPDX-License-Identifier: Apache-2.0
"""Waiting: a condition, a deadline, an error that says so.

A call that has a deadline of its own sets it with ``limit``. Every wait in
it obeys, however deep: each has its own timeout, and ends no later than the
call.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from kuryr_sriov import exceptions
from kuryr_sriov.host import workers

T = TypeVar('T')

SHORTEST = 0.001
LONGEST = 0.1

_DEADLINE = contextvars.ContextVar('deadline', default=math.inf)
"""Of the call that this thread is in, by ``time.monotonic()``."""

_hanging: dict[str, workers.Job] = {}
_hanging_lock = threading.Lock()


@contextlib.contextmanager
def limit(seconds: float, *, ignore_earlier: bool = False) -> Iterator[None]:
    """Bound all waits in the body of ``with`` together.

    Within another limit the earlier deadline counts.

    :param ignore_earlier: replace the deadline there was: for what has to
        be tried although, or because, that one has passed.
    """
    former = math.inf if ignore_earlier else _DEADLINE.get()
    token = _DEADLINE.set(min(former, time.monotonic() + seconds))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def time_left(timeout: float) -> float:
    """Seconds that a wait may take: ``timeout``, or what the call still has.

    Never negative. For waits that the system does, as on sockets.
    """
    return max(0.0, min(timeout, _DEADLINE.get() - time.monotonic()))


def wait_for(probe: Callable[[], T | None], timeout: float, what: str) -> T:
    """The first truthy answer of ``probe``, asked at growing intervals.

    A probe that raises DeviceBusy is asked again. It is asked at least once,
    and once more at the deadline.

    :param timeout: seconds.
    :param what: what is waited for, and what to do if it never comes.
    :raises DeviceBusy: ``timeout``, or the call's deadline, has passed.
    """
    timeout = time_left(timeout)
    deadline = time.monotonic() + timeout
    interval = SHORTEST
    while True:
        last = time.monotonic() >= deadline
        reason: exceptions.DeviceBusy | None = None
        try:
            answer = probe()
        except exceptions.DeviceBusy as error:
            reason = error
        else:
            if answer:
                return answer
        if last:
            because = f': {reason}' if reason else ''
            raise exceptions.DeviceBusy(
                f'Waited {timeout:.3g} s for {what}{because}'
            ) from reason
        time.sleep(max(0.0, min(interval, deadline - time.monotonic())))
        interval = min(interval * 2, LONGEST)


def run_within(
    work: Callable[[], object], timeout: float, what: str, key: str = ''
) -> None:
    """Do work that may block in the kernel, for ``timeout`` at most.

    It is done in another thread; when the time is over, that thread is left
    to end whenever the kernel lets it. The work's own waits obey the call's
    deadline.

    :param timeout: seconds.
    :param what: as in ``wait_for``.
    :param key: whose work it is, such as a PCI address. While earlier work
        of that key still hangs, no other is started: a write to sysfs
        cannot be interrupted, and each retry would leave one more thread.
    :raises DeviceBusy: ``timeout``, or the call's deadline, has passed.
    """
    bound = _make_bound(timeout, what, key)
    job = (
        _start_after_earlier(work, bound)
        if key
        else workers.start(work, bound)
    )
    _wait_for_job(job)


def run_apart(work: Callable[[], T], what: str) -> T:
    """Do work in a thread that may be left behind; return what it returns.

    All that it has done by ``run_here_within`` is done in that one thread.
    Where the kernel keeps one of them for too long, all of the work ends
    there, and nothing in it handles that.

    :param what: what the thread is called.
    :raises DeviceBusy: such a part has taken too long.
    """
    answers: list[T] = []
    job = workers.start(
        lambda: answers.append(work()), workers.Bound(what=what)
    )
    _wait_for_job(job)
    return answers[0]


def run_here_within(
    work: Callable[[], object], timeout: float, what: str, key: str = ''
) -> None:
    """Like ``run_within``, but in this thread if that may be left behind.

    To hand work to another thread, and to be woken by it, takes longer than
    most requests to the kernel.
    """
    job = workers.current_job()
    if job is None:
        run_within(work, timeout, what, key)
        return
    bound = _make_bound(timeout, what, key)
    with _hanging_lock:
        earlier = _hanging.get(key)
    if earlier:
        _wait_for_earlier(earlier, bound)
    job.run_part(work, bound)


def _make_bound(timeout: float, what: str, key: str) -> workers.Bound:
    timeout = time_left(timeout)
    deadline = time.monotonic() + timeout
    return workers.Bound(deadline, timeout, what, key)


def _wait_for_job(job: workers.Job) -> None:
    """Wait for it, or for the part of it that it does, within its time."""
    # A part may have an earlier deadline than the one before.
    while not job.wait(min(LONGEST, _seconds_until(job.bound.deadline))):
        if job.give_up():
            bound = job.bound
            if bound.key:
                with _hanging_lock:
                    _hanging[bound.key] = job
            raise exceptions.DeviceBusy(
                f'Waited {bound.seconds:.3g} s for {bound.what}'
            )
    if job.raised:
        raise job.raised


def _seconds_until(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _start_after_earlier(
    work: Callable[[], object], bound: workers.Bound
) -> workers.Job:
    """Start it once no earlier work of its key is left."""
    while True:
        with _hanging_lock:
            for other in [k for k, job in _hanging.items() if job.is_finished]:
                del _hanging[other]
            earlier = _hanging.get(bound.key)
            if earlier is None:
                job = _hanging[bound.key] = workers.start(work, bound)
                return job
        _wait_for_earlier(earlier, bound)


def _wait_for_earlier(earlier: workers.Job, bound: workers.Bound) -> None:
    if not earlier.wait(_seconds_until(bound.deadline)):
        raise exceptions.DeviceBusy(
            f'An earlier attempt still hangs in the kernel, for '
            f'{earlier.bound.what}; no other is made beside it: {bound.what}'
        )


def _forget_hanging() -> None:
    """No thread but the one that forks lives on in its child (fork(2))."""
    global _hanging_lock
    _hanging_lock = threading.Lock()
    _hanging.clear()


os.register_at_fork(after_in_child=_forget_hanging)
