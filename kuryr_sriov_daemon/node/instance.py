# SPDX-License-Identifier: Apache-2.0
"""One node daemon on each node, for as long as its process lives."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from pathlib import Path

from kuryr_sriov_daemon.node.run_folder import LOCK, make_private

LOG = logging.getLogger(__name__)

LOOK_AGAIN = 0.2
"""Seconds; the kernel tells nobody that a lock became free in time."""


class Instance:
    """The lock that makes this process the node's daemon.

    The kernel frees it with the process, however that ends.

    :param socket: the CNI plugin's; the lock is beside it, in a folder that
        is then root's alone.
    :raises PermanentError: that folder cannot be had, or others use it.
    """

    def __init__(self, socket: Path) -> None:
        make_private(socket)
        path = socket.with_name(LOCK)
        self._path = path
        self._file = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )

    def wait(self, stopping: threading.Event) -> bool:
        """Wait until no other process is it; False if stopped before."""
        told = False
        while not self._try_lock():
            if not told:
                LOG.warning(
                    'process %s is the node daemon here; waiting until it '
                    'ends',
                    self._path.read_text().strip() or 'unknown',
                )
                told = True
            if stopping.wait(LOOK_AGAIN):
                return False
        # For people who ask which process has the lock; nothing reads it but
        # the warning above.
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f'{os.getpid()}\n'.encode(), 0)
        return True

    def close(self) -> None:
        """Let the next one begin."""
        os.close(self._file)

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
