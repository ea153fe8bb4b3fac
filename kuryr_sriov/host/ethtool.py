# SPDX-License-Identifier: Apache-2.0
"""Which device an interface belongs to, where netlink does not tell.

Follows ``linux/ethtool.h`` (``ETHTOOL_GDRVINFO``).
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct

from kuryr_sriov.host import netns as namespaces

# IFLA_PARENT_DEV_NAME came with Linux 5.14 (00e77ed8e64d).
NETLINK_TELLS = (5, 14)

_SIOCETHTOOL = 0x8946
_GDRVINFO = 3
# driver, version, fw_version, bus_info; the rest does not matter
_INFO = struct.Struct('=I32s32s32s32s64x')
_REQUEST = struct.Struct('16sP16x')  # struct ifreq


def netlink_tells_parent() -> bool:
    """Whether this kernel names the parent of an interface in netlink."""
    major, minor = os.uname().release.split('.')[:2]
    digits = minor.partition('-')[0]
    return (int(major), int(digits)) >= NETLINK_TELLS


def read_bus_info(ifname: str, netns: str) -> str:
    """The device an interface belongs to; empty where there is none."""
    # The kernel writes into it, at the address that the request has.
    info = array.array('B', _INFO.pack(_GDRVINFO, b'', b'', b'', b''))
    address, _ = info.buffer_info()
    with namespaces.open_socket(
        netns, socket.AF_INET, socket.SOCK_DGRAM
    ) as any_socket:
        try:
            fcntl.ioctl(
                any_socket,
                _SIOCETHTOOL,
                _REQUEST.pack(ifname.encode(), address),
            )
        except OSError:  # such as lo, which has no driver to tell
            return ''
    bus_info: bytes = _INFO.unpack(info)[4]
    return bus_info.partition(b'\0')[0].decode()
