# SPDX-License-Identifier: Apache-2.0
"""The CNI plugin on the host: put in place, kept last, taken out again."""

from __future__ import annotations

import ctypes
import logging
import os
import select
import shutil
import threading
import time
from collections import deque
from pathlib import Path

from kuryr_sriov import KuryrSriovError, PermanentError
from kuryr_sriov_daemon.node.conflist import TYPE, Conflist

LOG = logging.getLogger(__name__)

# <sys/inotify.h>
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _DELETE = 0x8, 0x40, 0x80, 0x200
_CHANGES = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _DELETE

LOOK_AGAIN = 30.0
"""Seconds after which the folder is looked at though nothing was told."""

OFTEN = 5
"""Changes in a minute from which on another program fights for its place."""


def install_plugin(source: Path, folder: Path) -> bool:
    """Put the plugin where the runtime finds it; whether that changed it.

    The runtime may start it at any moment, so that it is replaced at once:
    a program that is being written cannot be executed (ETXTBSY).

    :raises PermanentError: it cannot be copied.
    """
    path = folder / TYPE
    new = folder / f'.{TYPE}.new'
    try:
        if path.is_file() and path.read_bytes() == source.read_bytes():
            return False
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, new)
        new.chmod(0o755)
        with open(new, 'rb') as file:
            # Else a node that loses power may keep the new name with nothing
            # in it.
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as error:
        raise PermanentError(
            f'the CNI plugin cannot be installed: {error}; see [sriov_node] '
            'plugin and cni_bin_dir, and what is mounted there'
        ) from error
    LOG.info('installed the CNI plugin %s', path)
    return True


def remove_plugin(folder: Path) -> bool:
    """Remove the plugin; whether it was there."""
    path = folder / TYPE
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


class Keeper:
    """Keeps us last in the active list, whoever rewrites it.

    :param folder: ``/etc/cni/net.d``, as this process sees it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._conflist = Conflist(folder)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._changes: deque[float] = deque(maxlen=OFTEN)
        self._trouble = ''
        self._thread = threading.Thread(
            target=self._keep_inserted, name='conflist'
        )

    def start(self) -> None:
        """Begin; there may be no primary CNI yet."""
        self._thread.start()

    def stop(self) -> None:
        """End; we stay in the list, since pods of ours may come."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)

    def _keep_inserted(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        changed = _watch_folder(self._folder)
        try:
            while True:
                pause = self._insert_if_missing()
                waiting = [self._stop] if pause else [self._stop, changed]
                ready, _, _ = select.select(
                    waiting, [], [], pause or LOOK_AGAIN
                )
                if self._stop in ready:
                    return
                if changed in ready or pause:
                    _drain_events(changed)
        finally:
            os.close(changed)

    def _insert_if_missing(self) -> float:
        """Insert us if need be; seconds to leave it alone thereafter."""
        try:
            changed = self._conflist.insert()
        except (KuryrSriovError, OSError, ValueError) as error:
            # Once, and again when it is another one.
            level = logging.DEBUG if self._trouble == str(error) else 30
            LOG.log(level, '%s', error)
            self._trouble = str(error)
            return 0.0
        self._trouble = ''
        if not changed:
            return 0.0
        now = time.monotonic()
        fought = len(self._changes) == OFTEN and now - self._changes[0] < 60.0
        self._changes.append(now)
        LOG.log(
            logging.WARNING if fought else logging.INFO,
            'added %s to %s%s',
            TYPE,
            self._conflist.find_active(),
            ', which another program keeps changing' if fought else '',
        )
        return LOOK_AGAIN if fought else 0.0


def _watch_folder(folder: Path) -> int:
    """An inotify descriptor for whatever happens to files of a folder."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Python has no inotify of its own.
    descriptor = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0 or (
        libc.inotify_add_watch(descriptor, os.fsencode(folder), _CHANGES) < 0
    ):
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), str(folder))
    return int(descriptor)


def _drain_events(descriptor: int) -> None:
    try:
        while os.read(descriptor, 1 << 16):
            pass
    except BlockingIOError:
        pass
