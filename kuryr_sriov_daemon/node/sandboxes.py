# SPDX-License-Identifier: Apache-2.0
"""One thing at a time for each sandbox, and a DEL ends an ADD that waits.

CNI: a runtime that gives an ADD up sends a DEL, also while that ADD is still
in progress. Whichever comes last must not wire a sandbox that is gone.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from kuryr_sriov import TransientError


class _Sandbox:
    """What is going on in one sandbox."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.deletions = 0

    @contextlib.contextmanager
    def alone(self, timeout: float) -> Iterator[None]:
        if not self.lock.acquire(timeout=timeout):
            raise TransientError(
                f'something else has been done to this sandbox for '
                f'{timeout:.3g} s; the log says what takes so long'
            )
        try:
            yield
        finally:
            self.lock.release()


class Adding:
    """An ADD in progress."""

    def __init__(self, sandbox: _Sandbox) -> None:
        self._sandbox = sandbox
        self._deletions = sandbox.deletions

    def check(self) -> None:
        """Raise if a DEL of this sandbox has come since.

        :raises TransientError: it has.
        """
        if self._sandbox.deletions != self._deletions:
            raise TransientError(
                'the runtime has deleted this sandbox while it was waited '
                'for its VIFs'
            )

    @contextlib.contextmanager
    def alone(self, timeout: float) -> Iterator[None]:
        """While nothing else is done to this sandbox.

        :param timeout: seconds to wait for whatever else is done to it.
        :raises TransientError: a DEL has come since the ADD began, or that
            time is over.
        """
        with self._sandbox.alone(timeout):
            self.check()
            yield


class Sandboxes:
    """All that is in progress, by container id. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sandboxes: dict[str, _Sandbox] = {}

    @contextlib.contextmanager
    def adding(self, container_id: str) -> Iterator[Adding]:
        """While an ADD is in progress."""
        with self._hold_sandbox(container_id) as sandbox:
            yield Adding(sandbox)

    @contextlib.contextmanager
    def deleting(self, container_id: str, timeout: float) -> Iterator[None]:
        """End the ADDs that came before, and be alone with the sandbox.

        :param timeout: seconds to wait for one that wires it just now.
        :raises TransientError: that time is over.
        """
        with self._hold_sandbox(container_id) as sandbox:
            with self._lock:
                sandbox.deletions += 1
            with sandbox.alone(timeout):
                yield

    @contextlib.contextmanager
    def _hold_sandbox(self, container_id: str) -> Iterator[_Sandbox]:
        with self._lock:
            sandbox = self._sandboxes.setdefault(container_id, _Sandbox())
            sandbox.users += 1
        try:
            yield sandbox
        finally:
            with self._lock:
                sandbox.users -= 1
                if not sandbox.users:
                    del self._sandboxes[container_id]
