# SPDX-License-Identifier: Apache-2.0
"""Who may have a worker, so that what hangs does not get them all."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar('K')

MOST_REMEMBERED = 1000
"""Lanes of which it is remembered that they were slow."""


@dataclass(slots=True)
class _Lane(Generic[K]):
    """What shares a fate.

    :param share: workers that it may have at once.
    :param slow: whether the last of it failed, after a long time.
    :param busy: workers that it has.
    :param waiting: what may not begin yet, in its order.
    """

    share: int
    slow: bool = False
    busy: int = 0
    waiting: deque[K] = field(default_factory=deque)


class Lanes(Generic[K]):
    """Shares workers out among lanes. For one thread at a time.

    A subnet whose requests hang holds a worker for each of its pods until
    they time out, and again when they are retried. So a lane has to earn
    its workers: it begins with a quarter of them, and each success gives it
    one more, but never the last quarter. One that was slow has one until
    something of it succeeds, and all slow ones together have half.

    :param workers: how many there are; None where they are not shared out.
    """

    def __init__(self, workers: int | None = None) -> None:
        # for tests of queues, where workers are not shared out
        workers = workers or sys.maxsize
        self._first = max(1, workers // 4)
        self._most = max(1, workers * 3 // 4)
        self._most_slow = max(1, workers // 2)
        self._lanes: dict[Hashable, _Lane[K]] = {}

    def enter(self, lane: Hashable, item: K) -> bool:
        """Whether it may begin; if not, ``release`` returns it later."""
        found = self._lanes.setdefault(lane, _Lane(self._first))
        if not self._may_begin(found):
            found.waiting.append(item)
            return False
        found.busy += 1
        return True

    def leave(self, lane: Hashable, slow: bool | None) -> None:
        """A worker is done with it; call ``release`` then.

        :param slow: True for a failure after a long time, False for
            success, None for what says nothing of the lane.
        """
        found = self._lanes[lane]
        found.busy -= 1
        if slow is not None:
            found.slow = slow
            found.share = 1 if slow else min(found.share + 1, self._most)
        self._forget_idle()

    def release(self) -> Sequence[K]:
        """Those that may ``enter`` by now, taken out.

        Call it again where one of them does not.
        """
        released, begun = [], []
        for lane in self._lanes.values():
            while lane.waiting and self._may_begin(lane):
                released.append(lane.waiting.popleft())
                lane.busy += 1  # as if it had begun, for those that follow
                begun.append(lane)
        for lane in begun:
            lane.busy -= 1
        return released

    def _may_begin(self, lane: _Lane[K]) -> bool:
        if lane.busy >= lane.share:
            return False
        slow = sum(each.busy for each in self._lanes.values() if each.slow)
        return not lane.slow or slow < self._most_slow

    def _forget_idle(self) -> None:
        idle = [
            key
            for key, lane in self._lanes.items()
            if not (lane.busy or lane.waiting)
        ]
        slow = [key for key in idle if self._lanes[key].slow]
        for key in {*idle} - {*slow[-MOST_REMEMBERED:]}:
            del self._lanes[key]
