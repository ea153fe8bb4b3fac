# SPDX-License-Identifier: Apache-2.0
"""State that threads share is used under its lock, or a test fails."""

import threading


class OwnedLock:
    """A lock that knows which thread has it."""

    def __init__(self, lock):
        self._lock = lock
        self._owner = None

    def acquire(self, *arguments, **named):
        got = self._lock.acquire(*arguments, **named)
        if got:
            self._owner = threading.get_ident()
        return got

    def release(self):
        self._owner = None
        self._lock.release()

    def __enter__(self):
        self.acquire()

    def __exit__(self, *_):
        self.release()

    def is_ours(self):
        return self._owner == threading.get_ident()


def guard(thing, *names):
    """``thing``; its attributes of these names now need its lock."""
    lock = thing._lock = OwnedLock(thing._lock)
    kind = type(thing)

    def check(name):
        assert name not in names or lock.is_ours(), f'{name} without the lock'

    class Guarded(kind):
        def __getattribute__(self, name):
            check(name)
            return super().__getattribute__(name)

        def __setattr__(self, name, value):
            check(name)
            super().__setattr__(name, value)

    thing.__class__ = Guarded
    return thing
