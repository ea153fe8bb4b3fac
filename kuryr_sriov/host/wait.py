# SPDX-License-Identifier: Apache-2.0
"""Waiting for the kernel: a condition, a deadline, an error that says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from kuryr_sriov import exceptions

T = TypeVar('T')

SHORTEST = 0.001
LONGEST = 0.1


def wait_for(probe: Callable[[], T | None], timeout: float, what: str) -> T:
    """The first truthy answer of ``probe``, asked at growing intervals.

    A probe that raises DeviceBusy is asked again. It is asked at least once,
    and once more at the deadline.

    :param timeout: seconds.
    :param what: what is waited for, and what to do if it never comes.
    :raises DeviceBusy: ``timeout`` has passed.
    """
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
                f'Waited {timeout:g} s for {what}{because}'
            ) from reason
        time.sleep(max(0.0, min(interval, deadline - time.monotonic())))
        interval = min(interval * 2, LONGEST)


def run_within(work: Callable[[], object], timeout: float, what: str) -> None:
    """Do work that may block in the kernel, for so long at most.

    It is done in a thread of its own; when the time is over, the thread is
    left to end whenever the kernel lets it.

    :param timeout: seconds.
    :param what: as in ``wait_for``.
    :raises DeviceBusy: ``timeout`` has passed.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # all of it is the caller's
            raised.append(error)

    thread = threading.Thread(target=run, name=what, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise exceptions.DeviceBusy(f'Waited {timeout:g} s for {what}')
    if raised:
        raise raised[0]
