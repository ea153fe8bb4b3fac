# SPDX-License-Identifier: Apache-2.0
"""RDMA devices and their network namespaces, by the kernel's RDMA netlink.

Follows ``drivers/infiniband/core/nldev.c`` and ``rdma_netlink.h``, of which
pyroute2 knows nothing.
"""

from __future__ import annotations

import collections
import errno
import struct
from collections.abc import Mapping

from kuryr_sriov import exceptions
from kuryr_sriov.host import netlink_socket
from kuryr_sriov.host import netns as namespaces
from kuryr_sriov.host.link_messages import HEADER, split_attributes
from kuryr_sriov.host.netlink_socket import ACK, DUMP, REQUEST

NETLINK_RDMA = 20
# RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, ...)
_NLDEV = 5 << 10
GET, SET, GET_SYSTEM = _NLDEV + 1, _NLDEV + 2, _NLDEV + 6
DEV_INDEX, DEV_NAME, NETNS_MODE, NET_NS_FD = 1, 2, 66, 68
_ATTRIBUTE = struct.Struct('=HH')
_NUMBER = struct.Struct('=I')
EXCLUSIVE = b'\0'
"""Of the modes; the other one is "shared" (ib_devices_shared_netns)."""


class RdmaDevices:
    """This node's RDMA devices; implements ``binding.base.Rdma``."""

    def __init__(self) -> None:
        self._channel = netlink_socket.Channel(protocol=NETLINK_RDMA)

    @property
    def requests(self) -> collections.Counter[str]:
        """Requests sent so far, by method."""
        return self._channel.requests

    def is_exclusive(self) -> bool:
        """Whether an RDMA device is in one network namespace alone."""
        message = make_message(GET_SYSTEM, REQUEST)
        try:
            (answer,) = self._channel.request(
                'rdma_mode', 'RDMA mode of this node', message, ''
            )
        except exceptions.KernelError as error:
            # No module of the kernel's RDMA is loaded.
            if error.errno != errno.EPROTONOSUPPORT:
                raise
            return False
        return read_attributes(answer).get(NETNS_MODE) == EXCLUSIVE

    def find_rdma(self, name: str, netns: str) -> int | None:
        """Index of the device with that name, if it is in ``netns``."""
        message = make_message(GET, REQUEST | DUMP)
        what = f'RDMA device {name} in {netns or "this namespace"}'
        for answer in self._channel.request('find_rdma', what, message, netns):
            found = read_attributes(answer)
            if found[DEV_NAME].rstrip(b'\0').decode() == name:
                index: int = _NUMBER.unpack(found[DEV_INDEX])[0]
                return index
        return None

    def move_rdma(self, index: int, netns: str, to: str) -> None:
        """Move a device from one network namespace to another."""
        with namespaces.opened(to) as target:
            message = make_message(
                SET,
                REQUEST | ACK,
                {
                    DEV_INDEX: _NUMBER.pack(index),
                    NET_NS_FD: _NUMBER.pack(target),
                },
            )
            # Once it has moved, there is none with that index.
            what = f'RDMA device {index} to {to or "this namespace"}'
            self._channel.request('move_rdma', what, message, netns, once=True)

    def rename_rdma(self, index: int, name: str) -> None:
        """Rename a device, in the node's own network namespace."""
        message = make_message(
            SET,
            REQUEST | ACK,
            {DEV_INDEX: _NUMBER.pack(index), DEV_NAME: name.encode() + b'\0'},
        )
        what = f'RDMA device {index} to be {name}'
        self._channel.request('rename_rdma', what, message, '')


def make_message(
    kind: int, flags: int, attributes: Mapping[int, bytes] | None = None
) -> bytes:
    """A request with these attributes."""
    body = b''
    for number, payload in (attributes or {}).items():
        length = _ATTRIBUTE.size + len(payload)
        body += _ATTRIBUTE.pack(length, number) + payload
        body += b'\0' * (-length % 4)
    return HEADER.pack(HEADER.size + len(body), kind, flags, 0, 0) + body


def read_attributes(message: bytes) -> dict[int, bytes]:
    """The attributes of an answer, by number."""
    return dict(split_attributes(message[HEADER.size :]))
