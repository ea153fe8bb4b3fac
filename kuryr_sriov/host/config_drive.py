# SPDX-License-Identifier: Apache-2.0
"""The config drive of a virtual machine of Nova, read without a trace.

Nova makes it, as ISO 9660 or FAT, with the label ``config-2``.
"""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

from kuryr_sriov import exceptions

LABEL = '/dev/disk/by-label/config-2'
FILESYSTEMS = 'iso9660', 'vfat'

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REC, MS_PRIVATE = 0x4000, 1 << 18

PLACE = Path('/tmp')
"""Is hidden by the drive, for the one thread that reads it."""

LARGEST = 4 << 20
"""Bytes of a file that is read: a thousand times what a VM has."""


def read_mounted(folder: Path, name: str) -> bytes:
    """A file of a config drive that is mounted already.

    :raises TransientError: it cannot be read.
    """
    path = folder / name
    try:
        with path.open('rb') as file:
            return file.read(LARGEST)
    except OSError as error:
        raise exceptions.TransientError(
            f'{path}: {error.strerror}; mount the config drive there, or '
            'correct [sriov] instance_metadata'
        ) from error


def read_device(device: Path, name: str) -> bytes:
    """A file of the config drive on a block device.

    It is mounted in a mount namespace of its own, by a thread that ends
    afterwards, and takes the mount with it. No thread that does other work
    may enter such a namespace: it would not see what is mounted later, as
    the network namespaces of pods are.

    :raises TransientError: it cannot be mounted, or has no such file.
    """
    found: list[bytes] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            _mount(device, PLACE)
            found.append(read_mounted(PLACE, name))
        except Exception as error:  # is the caller's
            failed.append(error)

    thread = threading.Thread(target=work, name=f'read {device}', daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def _mount(device: Path, folder: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # mount_namespaces(7): what is mounted in a new namespace shows in the old
    # one as well, unless all of its mounts are made private.
    done = not libc.unshare(CLONE_NEWNS) and not libc.mount(
        None, b'/', None, MS_REC | MS_PRIVATE, None
    )
    flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    if done and any(
        not libc.mount(
            os.fsencode(device), bytes(folder), kind.encode(), flags, None
        )
        for kind in FILESYSTEMS
    ):
        return
    raise exceptions.TransientError(
        f'the config drive {device} cannot be mounted: '
        f'{os.strerror(ctypes.get_errno())}; mount it read-only on the node, '
        'and name that folder in [sriov] instance_metadata, or the URL of '
        'the metadata service'
    )
