# SPDX-License-Identifier: Apache-2.0
"""Network namespaces by path: whether one is there, and sockets in it.

Follows ``namespaces(7)``, ``setns(2)`` and ``ioctl_nsfs(2)``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import socket
import threading
from collections.abc import Iterator

from kuryr_sriov import exceptions
from kuryr_sriov.host import workers

CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703
# Of the thread, since ``enter`` takes single threads elsewhere.
OWN = '/proc/thread-self/ns/net'


def alive(netns: str) -> bool:
    """Whether a network namespace is mounted, or linked, at that path.

    ``''`` is the node's own. A plain file, as is left there when the
    namespace is unmounted, is none.

    :raises KernelError: it cannot be told; never taken for "gone", which
        would take a VF away from a running pod.
    """
    try:
        with opened(netns):
            return True
    except exceptions.KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return False


def identify(netns: str) -> str:
    """Device and inode of the namespace, which tell it from all others.

    By its path alone it cannot be told: that of a process
    (``/proc/PID/ns/net``) leads to another namespace once the PID is used
    again (``namespaces(7)``).

    :raises KernelError: as ``opened``.
    """
    with opened(netns) as file:
        status = os.fstat(file)
    return f'{status.st_dev}:{status.st_ino}'


@contextlib.contextmanager
def opened(netns: str) -> Iterator[int]:
    """A file descriptor of the namespace.

    :raises KernelError: ENOENT: there is none at that path; else: the path
        cannot be opened.
    """
    try:
        file = os.open(netns or OWN, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _no_namespace(netns, 'no such file') from error
    except OSError as error:
        number = error.errno or errno.EIO
        raise exceptions.KernelError(
            f'Cannot open network namespace {netns}: {os.strerror(number)}; '
            f'run as root, with enough file descriptors',
            number,
        ) from error
    try:
        try:
            # A runtime that unmounts the namespace leaves a plain file at its
            # path.
            kind = fcntl.ioctl(file, NS_GET_NSTYPE)
        except OSError as error:
            raise _no_namespace(netns, 'it is no namespace') from error
        if kind != CLONE_NEWNET:
            raise _no_namespace(netns, 'it is another kind of namespace')
        yield file
    finally:
        os.close(file)


def _no_namespace(netns: str, reason: str) -> exceptions.KernelError:
    return exceptions.KernelError(
        f'There is no network namespace at {netns}: {reason}; the sandbox '
        f'may be gone, or its folder is not mounted into this container',
        errno.ENOENT,
    )


def open_socket(netns: str, family: int, kind: int) -> socket.socket:
    """A socket in the namespace; the caller's thread never enters it.

    It is opened by a thread that enters the namespace and ends there. The
    socket keeps the namespace alive: close it soon.

    :raises KernelError: there is no such namespace, or it may not be entered.
    """
    if not netns:
        return socket.socket(family, kind)
    made: list[socket.socket | Exception] = []

    def work() -> None:
        try:
            enter(netns)
            made.append(socket.socket(family, kind))
        except Exception as error:  # is the caller's
            made.append(error)

    thread = threading.Thread(target=work, name=f'open {netns}')
    thread.start()
    thread.join()
    (result,) = made
    if isinstance(result, OSError):
        number = result.errno or errno.EIO
        raise exceptions.KernelError(
            f'Cannot open a socket in {netns}: {os.strerror(number)}; see '
            f'the limits of this process',
            number,
        ) from result
    if isinstance(result, Exception):
        raise result
    return result


def enter(netns: str) -> None:
    """Take the calling thread into the namespace; it never comes back.

    :raises KernelError: there is no such namespace, or it may not be entered.
    """
    with opened(netns) as file:
        _move_thread(file, netns)


@contextlib.contextmanager
def entered(netns: str) -> Iterator[None]:
    """Have the calling thread in the namespace for the body of ``with``.

    :raises KernelError: as ``enter``.
    :raises ThreadLost: the thread could not come back, and has to end.
    """
    with opened('') as own:
        enter(netns)
        try:
            yield
        finally:
            try:
                _move_thread(own, "the node's own network namespace")
            except exceptions.KernelError as error:
                # What it did next, it would do in the pod's namespace.
                raise workers.ThreadLost(error) from error


@functools.cache
def _libc() -> ctypes.CDLL:
    """For setns(2), which Python has since 3.12 only."""
    return ctypes.CDLL(None, use_errno=True)


def _move_thread(file: int, netns: str) -> None:
    if _libc().setns(file, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise exceptions.KernelError(
            f'Cannot enter {netns}: {os.strerror(number)}; run with '
            f'CAP_SYS_ADMIN',
            number,
        )
