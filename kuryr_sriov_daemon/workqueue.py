# SPDX-License-Identifier: Apache-2.0
"""What is to be looked at, each by one worker at a time."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from kuryr_sriov import KuryrSriovError, TransientError
from kuryr_sriov_daemon.lanes import Lanes

LOG = logging.getLogger(__name__)

K = TypeVar('K', bound=Hashable)

SLOW = 2.0
"""Seconds from which on a failure keeps others of its lane waiting.

Neutron answers in a tenth of that, or refuses; a hung one is waited for."""


@dataclass(slots=True)
class _Taken:
    """What a worker has.

    :param due: when it is to be looked at again; None for not so far.
    """

    lane: Hashable
    due: float | None = None


class WorkQueue(Generic[K]):
    """Keys that fall due. Thread-safe.

    A key is in it once, at the earliest time that was asked for. While a
    worker has a key nobody else gets it; put in meanwhile, it is due again
    when the worker is done. What its lane keeps from a worker stays due.

    :param first_pause: seconds before the first retry; doubled each time.
    :param longest_pause: seconds; pauses are varied by up to a half, so
        that what failed together does not come back together.
    :param permanent_pause: seconds at least before what somebody has to
        change first is tried again; a transient error tells its own.
    :param workers: how many take keys, to be shared out among lanes; None
        where they are not.
    """

    def __init__(
        self,
        first_pause: float = 1.0,
        longest_pause: float = 60.0,
        permanent_pause: float = 0.0,
        workers: int | None = None,
    ) -> None:
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._permanent_pause = permanent_pause
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._taken: dict[K, _Taken] = {}
        self._failures: dict[K, int] = {}
        self._numbers = itertools.count()
        self._lane: dict[K, Hashable] = {}
        self._lanes: Lanes[tuple[float, K]] = Lanes(workers)
        self._closed = False

    def put(
        self, key: K, delay: float = 0.0, lane: Hashable | None = None
    ) -> None:
        """Have it looked at in ``delay`` seconds at the latest.

        :param lane: what hangs if one of its keys does; by default the one
            that the key was put into before, or the one of all others.
        """
        due = time.monotonic() + delay
        with self._changed:
            if lane is not None:
                self._lane[key] = lane
            self._lane.setdefault(key, None)
            if key in self._taken:
                taken = self._taken[key]
                taken.due = min(due, taken.due) if taken.due else due
            else:
                self._plan_key(key, due)

    def retry(self, key: K, at_least: float = 0.0) -> float:
        """Put it in after a pause that grows; return the pause."""
        with self._changed:
            count = self._failures.get(key, 0)
            self._failures[key] = count + 1
        pause: float = min(
            self._longest_pause, self._first_pause * 2 ** min(count, 16)
        )
        pause = max(at_least, pause) * random.uniform(1.0, 1.5)
        self.put(key, pause)
        return pause

    def take(self) -> K | None:
        """Wait for a key that is due; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._heap and self._heap[0][0] <= now:
                    due, _, key = heapq.heappop(self._heap)
                    if self._due.get(key) != due:
                        # It was put earlier since. Whoever waits for it in
                        # its lane need not.
                        self._push_released()
                        continue
                    lane = self._lane[key]
                    if self._lanes.enter(lane, (due, key)):
                        del self._due[key]
                        self._taken[key] = _Taken(lane)
                        return key
                    continue
                wait = self._heap[0][0] - now if self._heap else None
                self._changed.wait(wait)
        return None

    def done(self, key: K, *, well: bool = True, slow: bool = False) -> None:
        """Give it back. After success its next pause is the first again.

        :param slow: whether it failed after a long time, as by a timeout.
        """
        verdict = False if well else slow or None
        with self._changed:
            if well:
                self._failures.pop(key, None)
            taken = self._taken.pop(key)
            if taken.due is not None:
                self._plan_key(key, taken.due)
            else:
                del self._lane[key]
            self._lanes.leave(taken.lane, verdict)
            self._push_released()

    def serve(
        self,
        work: Callable[[K], None],
        observe: Callable[[str, float], None] = lambda outcome, seconds: None,
    ) -> None:
        """Have the calling thread work on what falls due, until the end.

        What ``work`` raises is logged, and the key is tried again: a role
        may be bound later, and a defect of a vendor's driver concerns the
        keys that meet it.

        :param observe: told of each attempt whether it was ``done``, or the
            name of what was raised, and its seconds.
        """
        while (key := self.take()) is not None:
            began = time.monotonic()
            outcome = 'done'
            try:
                work(key)
            except Exception as error:
                outcome = type(error).__name__
                self._try_again(key, error)
            seconds = time.monotonic() - began
            self.done(key, well=outcome == 'done', slow=seconds > SLOW)
            observe(outcome, seconds)

    def _try_again(self, key: K, error: Exception) -> None:
        at_least, level = self._permanent_pause, logging.WARNING
        if isinstance(error, TransientError):
            at_least, level = error.retry_after, logging.INFO
        pause = self.retry(key, at_least)
        ours = isinstance(error, KuryrSriovError)
        LOG.log(
            level if ours else logging.ERROR,
            '%s: %s; again in %.1f s',
            key,
            error,
            pause,
            exc_info=None if ours else error,
        )

    def close(self) -> None:
        """No worker gets another key."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def depth(self) -> int:
        """How many keys are due and wait for a worker."""
        now = time.monotonic()
        with self._changed:
            return sum(due <= now for due in self._due.values())

    def longest_wait(self) -> float:
        """Seconds for which the first of them has been due."""
        with self._changed:
            first = min(self._due.values(), default=None)
        return 0.0 if first is None else max(0.0, time.monotonic() - first)

    def _plan_key(self, key: K, due: float) -> None:
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._push(due, key)

    def _push_released(self) -> None:
        for due, key in self._lanes.release():
            self._push(due, key)

    def _push(self, due: float, key: K) -> None:
        heapq.heappush(self._heap, (due, next(self._numbers), key))
        self._changed.notify()
