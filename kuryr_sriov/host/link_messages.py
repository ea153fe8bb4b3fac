# SPDX-License-Identifier: Apache-2.0
"""``RTM_NEWLINK``: what the kernel tells of an interface, in its bytes.

Follows ``rtnl_fill_ifinfo`` in the kernel's ``net/core/rtnetlink.c``. By
hand, because every attribute counts here, also one that no library knows yet.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from kuryr_sriov import model

# struct nlmsghdr
HEADER = struct.Struct('=IHHII')
# struct ifinfomsg
_INTERFACE = struct.Struct('=BxHiII')
_ATTRIBUTE = struct.Struct('=HH')
_NUMBER = struct.Struct('=I')
# The upper bits say "nested" and "big endian", and are no part of the kind.
_KIND = 0x3FFF

ADDRESS, IFNAME, MTU, QDISC, IFALIAS = 1, 3, 4, 6, 20
VFINFO_LIST, PROP_LIST, ALT_IFNAME = 22, 52, 53
PERM_ADDRESS, PARENT_DEV_NAME = 54, 56

IFF_UP, IFF_RUNNING = 0x1, 0x40
# IFF_LOWER_UP and IFF_DORMANT: like IFF_RUNNING, they follow the wire.
_FOLLOWING = IFF_UP | IFF_RUNNING | 0x10000 | 0x20000

# Names of those that a pod can change (linux/if_link.h), for messages.
TRAITS = {
    2: 'broadcast',
    10: 'master',
    13: 'txqueuelen',
    17: 'mode',
    27: 'group',
    30: 'promiscuity',
    39: 'protodown',
    40: 'gso_max_segs',
    41: 'gso_max_size',
    43: 'xdp',
    58: 'gro_max_size',
    61: 'allmulti',
    63: 'gso_ipv4_max_size',
    64: 'gro_ipv4_max_size',
}

# What says nothing of the interface itself, by reason.
_PASSING = frozenset(
    {
        # fields of model.Link
        *(ADDRESS, IFNAME, MTU, IFALIAS, PROP_LIST, PARENT_DEV_NAME),
        # counters, and what follows them: STATS, STATS64, CARRIER_CHANGES,
        # CARRIER_UP_COUNT, CARRIER_DOWN_COUNT
        *(7, 23, 35, 47, 48),
        # what follows the wire: OPERSTATE, CARRIER
        *(16, 33),
        # what a move between namespaces sets up again (dev_shutdown and
        # inetdev_destroy): QDISC, AF_SPEC
        *(QDISC, 26),
        # padding, and what tells where it is or was: PAD, EVENT,
        # NEW_NETNSID, IF_NETNSID, NEW_IFINDEX, LINK_NETNSID
        *(42, 44, 45, 46, 49, 37),
        # MAP: addresses of ISA cards
        14,
        # a memory of earlier MACs: igbvf_reset puts the one in use there,
        # and iavf the one that its PF has set
        PERM_ADDRESS,
        # EXT_MASK and VFINFO_LIST: of a PF, what was asked for
        *(29, VFINFO_LIST),
    }
)


def encode_attribute(kind: int, payload: bytes) -> bytes:
    """A netlink attribute, with the padding that the next one needs."""
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def split_attributes(
    data: bytes, offset: int = 0
) -> Iterator[tuple[int, bytes]]:
    """Kind and payload of each netlink attribute from an offset on."""
    end = len(data)
    while offset < end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        yield kind & _KIND, data[offset + _ATTRIBUTE.size : offset + length]
        offset += length + -length % 4


def link_attributes(message: bytes) -> dict[int, bytes]:
    """The attributes of a whole message, by kind."""
    return dict(split_attributes(message, HEADER.size + _INTERFACE.size))


def _can_send(flags: int, attributes: Mapping[int, bytes]) -> bool:
    """Whether a frame would pass, as ``addrconf_link_ready`` sees it.

    A link whose carrier has just come is ``IFF_RUNNING`` already, where its
    operational state was never told before; until the kernel's work for it
    has run, it has the queue ``noop``, which drops all frames silently.
    """
    queue = _decode_text(attributes.get(QDISC, b''))
    return bool(flags & IFF_RUNNING) and queue != 'noop'


def read_name(attributes: Mapping[int, bytes]) -> str:
    """The name of an interface."""
    return _decode_text(attributes[IFNAME])


def read_parent(attributes: Mapping[int, bytes]) -> str:
    """The device that it belongs to: of a virtio NIC the virtio device."""
    return _decode_text(attributes.get(PARENT_DEV_NAME, b''))


def decode_link(
    message: bytes, found: Mapping[int, bytes], pci: str = ''
) -> model.Link:
    """The interface that a message describes.

    :param found: its ``link_attributes``.
    :param pci: the function that it belongs to.
    """
    _, _, index, flags, _ = _INTERFACE.unpack_from(message, HEADER.size)
    return model.Link(
        index=index,
        name=read_name(found),
        mac=found.get(ADDRESS, b'').hex(':'),
        mtu=_NUMBER.unpack(found[MTU])[0],
        up=bool(flags & IFF_UP),
        alias=_decode_text(found.get(IFALIAS, b'')),
        pci=pci,
        carrier=_can_send(flags, found),
        altnames=_decode_altnames(found.get(PROP_LIST, b'')),
        traits=(
            f'flags={flags & ~_FOLLOWING:#x}',
            *(
                f'{TRAITS.get(kind, f"attribute{kind}")}={payload.hex()}'
                for kind, payload in sorted(found.items())
                if kind not in _PASSING
            ),
        ),
    )


def _decode_altnames(properties: bytes) -> tuple[str, ...]:
    return tuple(
        _decode_text(payload)
        for kind, payload in split_attributes(properties)
        if kind == ALT_IFNAME
    )


def _decode_text(payload: bytes) -> str:
    return payload.rstrip(b'\0').decode(errors='replace')
