# SPDX-License-Identifier: Apache-2.0
"""Who waits for whom: one at a time for each key, or one call for all.

A single lock around I/O makes a convoy: eight threads behind a timeout of
one second wait one to eight seconds, though seven of them wanted something
else, or the same answer.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar('T')


class KeyedLocks:
    """A lock for each key, there while somebody holds or awaits it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Hashable, tuple[threading.Lock, int]] = {}

    @contextlib.contextmanager
    def hold(self, key: Hashable) -> Iterator[None]:
        """Be the only one with this key; others go on."""
        with self._guard:
            lock, users = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks.pop(key)
                if users > 1:
                    self._locks[key] = lock, users - 1

    def __len__(self) -> int:
        return len(self._locks)


class SharedCalls(Generic[T]):
    """Those who ask for the same at the same time share one call.

    They get its result, or a copy of its error: whoever waited through a
    timeout does not wait through another of his own.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._calls: dict[Hashable, Future[T]] = {}

    def share(self, key: Hashable, call: Callable[[], T]) -> T:
        """What ``call`` returns, here or in the thread that came first."""
        with self._guard:
            future = self._calls.get(key)
            first = future is None
            if future is None:
                future = self._calls[key] = Future()
        if not first:
            error = future.exception()
            if error is not None:
                # each thread adds its own traceback to what it raises
                raise copy.copy(error) from error
            return future.result()
        try:
            result = call()
        except BaseException as error:
            self._end_call(key)
            future.set_exception(error)
            raise
        self._end_call(key)
        future.set_result(result)
        return result

    def _end_call(self, key: Hashable) -> None:
        with self._guard:
            del self._calls[key]
