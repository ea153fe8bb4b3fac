# SPDX-License-Identifier: Apache-2.0
"""One configuration at a time per PF, across threads and processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from kuryr_sriov import exceptions
from kuryr_sriov.host import wait


class PfLocks:
    """Locks by the PCI address of the PF (or of a VF without one).

    A process that dies gives its locks back: they are ``flock(2)`` locks on
    files that stay.

    :param directory: of the lock files; made when it is missing.
    :param timeout: seconds to wait for all locks of a call together.
    """

    def __init__(self, directory: Path | str, timeout: float) -> None:
        self._directory = Path(directory)
        self._timeout = timeout
        self._threads: defaultdict[str, threading.Lock] = defaultdict(
            threading.Lock
        )

    @contextlib.contextmanager
    def hold(self, pcis: Iterable[str]) -> Iterator[None]:
        """Hold all of them, taken in order, so that no two callers block.

        :raises DeviceBusy: somebody else held one for too long.
        """
        deadline = time.monotonic() + wait.time_left(self._timeout)
        with contextlib.ExitStack() as stack:
            for pci in sorted(set(pcis)):
                stack.enter_context(self._hold_one(pci, deadline))
            yield

    @contextlib.contextmanager
    def _hold_one(self, pci: str, deadline: float) -> Iterator[None]:
        thread = self._threads[pci]
        left = max(0.0, deadline - time.monotonic())
        if not thread.acquire(timeout=left):
            raise exceptions.DeviceBusy(
                f'{pci}: another thread has been configuring this PF for '
                f'{left:.3g} s; see [sriov] pf_lock_timeout'
            )
        try:
            with self._open_file(pci) as file:
                wait.wait_for(
                    lambda: _try_lock(file),
                    deadline - time.monotonic(),
                    f'{pci}: the PF, which another process is configuring '
                    '(see [sriov] pf_lock_timeout)',
                )
                yield
        finally:
            thread.release()

    @contextlib.contextmanager
    def _open_file(self, pci: str) -> Iterator[int]:
        path = self._directory / f'{pci}.lock'
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise exceptions.LedgerError(
                f'{path}: {error.strerror}; [sriov] state_dir must be '
                'writable for this process'
            ) from error
        try:
            yield file
        finally:
            os.close(file)


def _try_lock(file: int) -> bool:
    try:
        # Not lockf(3): its locks are the process's, and go when any descriptor
        # of the file is closed (fcntl(2)).
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
