# SPDX-License-Identifier: Apache-2.0
"""Exchanges with the kernel's netlink, in bytes.

Follows ``netlink(7)`` and the kernel's ``include/uapi/linux/netlink.h``. The
kernel serves a request while it is being sent, and continues a dump while it
is being read: answers are there at once, and only sending can block.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator

from kuryr_sriov import exceptions
from kuryr_sriov.host import errnos, wait
from kuryr_sriov.host import netns as namespaces

ROUTE = 0
"""The protocol of rtnetlink (NETLINK_ROUTE)."""

REQUEST, MULTI, ACK, DUMP_INTERRUPTED = 0x1, 0x2, 0x4, 0x10
ROOT, MATCH = 0x100, 0x200
# The same bits as above: they mean one thing to GET, another to NEW requests.
EXCL, CREATE, APPEND = 0x200, 0x400, 0x800
DUMP = ROOT | MATCH

_ERROR, _DONE = 2, 3
_CAPPED, _TLVS = 0x100, 0x200
_EXT_ACK = 11
_SOL_NETLINK = 270
_TEXT = 1
# struct nlmsghdr, struct nlattr, and the int of struct nlmsgerr
_HEADER = struct.Struct('=IHHII')
_ATTRIBUTE = struct.Struct('=HH')
_NUMBER = struct.Struct('=i')
# A message with the settings of 256 VFs fits.
_LARGEST = 1 << 18


REMEDIES = {
    errno.EPERM: 'run with CAP_NET_ADMIN',
    errno.ENODEV: 'the interface is gone; see whether its driver is bound',
    errno.EEXIST: 'choose another, or remove the one that is there',
    errno.EADDRNOTAVAIL: 'the PF has set another MAC; rebind the VF driver',
    errno.ENETUNREACH: 'the gateway is in no subnet of the interface',
    errno.EOPNOTSUPP: 'the NIC driver cannot do it',
}

# Seconds that a busy kernel is asked again.
BUSY_TIMEOUT = 5.0
# Seconds that it may take to serve one request.
REQUEST_TIMEOUT = 10.0


class Channel:
    """Requests to the kernel, counted, and their errors mapped. Thread-safe.

    :param protocol: of netlink; rtnetlink's by default.
    :ivar requests: how many were sent so far, by operation.
    """

    def __init__(
        self, busy_timeout: float = BUSY_TIMEOUT, protocol: int = ROUTE
    ) -> None:
        self.requests: collections.Counter[str] = collections.Counter()
        self._protocol = protocol
        self._busy_timeout = busy_timeout
        self._lock = threading.Lock()

    def request(
        self,
        operation: str,
        what: str,
        message: bytes,
        netns: str,
        *,
        once: bool = False,
    ) -> list[bytes]:
        """Send it, again while the kernel is busy; return the answers.

        :param what: the operation and its object, for errors.
        :param once: it must not be sent again: half done, it would mean
            something else.
        """

        def probe() -> tuple[list[bytes]]:
            with self._lock:
                self.requests[operation] += 1
            try:
                return (exchange_within(netns, message, what, self._protocol),)
            except OSError as error:
                raise map_error(error, what) from error

        if once:
            return probe()[0]
        return wait.wait_for(probe, self._busy_timeout, what)[0]


def map_error(error: OSError, what: str) -> exceptions.KuryrSriovError:
    """The library's error for the kernel's."""
    number = error.errno or errno.EIO
    remedy = REMEDIES.get(number, 'see the kernel log')
    text = f'{what}: {error.strerror}; {remedy}'
    if number in errnos.TRANSIENT:
        return exceptions.DeviceBusy(text)
    return exceptions.KernelError(text, number)


def exchange_within(
    netns: str, message: bytes, what: str, protocol: int
) -> list[bytes]:
    """``exchange``, in a thread that the kernel may keep.

    No timeout of a socket bounds it: it is served while it is sent, under a
    lock of the whole kernel (RTNL), which a driver that hangs may hold.

    :raises DeviceBusy: it was not served in REQUEST_TIMEOUT, or an earlier
        one of its kind still is not.
    """
    answers: list[bytes] = []
    wait.run_here_within(
        lambda: answers.extend(exchange(netns, message, protocol)),
        REQUEST_TIMEOUT,
        f'{what}: a driver may hang; see the kernel log',
        key=what,
    )
    return answers


def exchange(netns: str, message: bytes, protocol: int = ROUTE) -> list[bytes]:
    """Send one request; return the messages that answer it.

    :raises OSError: the kernel's error, with its own text if it gives one;
        EBUSY for a dump that a change has interrupted.
    :raises KernelError: there is no such network namespace.
    :raises ThreadLost: the calling thread could not come back from it.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with contextlib.ExitStack() as stack:
        # For the whole exchange: what a request for an RDMA device is about,
        # the kernel looks up in the namespace of the thread that sends it,
        # not in that of the socket (ib_device_set_netns_put).
        if netns:
            stack.enter_context(namespaces.entered(netns))
        netlink = socket.socket(socket.AF_NETLINK, kind, protocol)
        stack.enter_context(netlink)
        # Without this the kernel gives a number, and not its own words.
        netlink.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        netlink.send(message)
        return list(_read_answers(netlink))


def _read_answers(netlink: socket.socket) -> Iterator[bytes]:
    while True:
        data = netlink.recv(_LARGEST)
        while data:
            length, kind, flags, _, _ = _HEADER.unpack_from(data)
            message, data = data[:length], data[_align_length(length) :]
            # An interface came or went between two parts, so that one may be
            # missing.
            if flags & DUMP_INTERRUPTED:
                raise OSError(errno.EBUSY, 'changed while it was listed')
            if kind in (_ERROR, _DONE):
                _raise_refusal(message, flags)
                return
            yield message
            if not flags & MULTI:
                return


def _raise_refusal(message: bytes, flags: int) -> None:
    (number,) = _NUMBER.unpack_from(message, _HEADER.size)
    if number:
        text = _kernel_text(message, flags) or os.strerror(-number)
        raise OSError(-number, text)


def _kernel_text(message: bytes, flags: int) -> str:
    """The kernel's own words (extended acknowledgement), if any."""
    if not flags & _TLVS:
        return ''
    offset = _HEADER.size + _NUMBER.size
    (request, *_) = _HEADER.unpack_from(message, offset)
    # Before its own words the error repeats the request, or its header only.
    offset += _HEADER.size if flags & _CAPPED else _align_length(request)
    while offset < len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, offset)
        if kind == _TEXT:
            text = message[offset + _ATTRIBUTE.size : offset + length]
            return text.rstrip(b'\0').decode(errors='replace')
        offset += _align_length(length)
    return ''


def _align_length(length: int) -> int:
    return (length + 3) & ~3
