# SPDX-License-Identifier: Apache-2.0
"""``IFLA_VFINFO_LIST``: what a PF holds for its VFs, in the kernel's bytes.

Follows the kernel's ``include/uapi/linux/if_link.h``. Kernels since 2024
(1aec77b2bb2e) refuse an ``ifla_vf_vlan_info`` without its padding.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Sequence
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.host.link_messages import encode_attribute, split_attributes

_INFO = 1  # IFLA_VF_INFO, and IFLA_VF_VLAN_INFO
_MAC = 1
_VLAN = 2
_SPOOFCHK = 4
_LINK_STATE = 5
_RATE = 6
_TRUST = 9
_NODE_GUID = 10
_PORT_GUID = 11
_VLAN_LIST = 12
_NESTED = 0x8000
_ATTRIBUTE_HEADER = 4  # bytes of struct nlattr

# ifla_vf_mac, ifla_vf_spoofchk and its like, ifla_vf_rate,
# ifla_vf_vlan and ifla_vf_vlan_info
# MAX_ADDR_LEN: the kernel has room for addresses of other kinds.
_MAC_FORMAT = struct.Struct('=I32s')
_NUMBER_FORMAT = struct.Struct('=II')
_RATE_FORMAT = struct.Struct('=III')
_VLAN_FORMAT = struct.Struct('=III')
_VLAN_INFO_FORMAT = struct.Struct('=III2s2x')

GROUPS = (
    ('mac',),
    ('vlan', 'vlan_qos', 'vlan_proto'),
    ('min_tx_rate', 'max_tx_rate'),
    ('spoofchk',),
    ('link_state',),
    ('trust',),
    ('node_guid',),
    ('port_guid',),
)
"""In the order in which the kernel applies them (do_setvfinfo).

The settings of one group travel in one attribute.
"""

# ifla_vf_guid, whose number is aligned as any of 64 bits
_GUID_FORMAT = struct.Struct('=I4xQ')

# What the kernel shows where a driver has no such setting (rtnl_fill_vfinfo).
_UNREPORTED = 0xFFFFFFFF
_PROTOCOLS: dict[bytes, model.VlanProto] = {
    b'\x81\x00': '802.1q',
    b'\x88\xa8': '802.1ad',
}
_LINK_STATES: tuple[model.LinkState, ...] = ('auto', 'enable', 'disable')


def complete_groups(
    settings: model.VfSettings, present: Callable[[], model.VfSettings]
) -> model.VfSettings:
    """The settings, with the rest of each attribute from ``present()``.

    Asks only if a VLAN is given without priority or protocol, or the other
    way round, or one rate without the other.
    """
    for names in GROUPS:
        values = {name: getattr(settings, name) for name in names}
        if None in values.values() and set(values.values()) != {None}:
            there = present()
            settings = dataclasses.replace(
                settings,
                **{
                    name: getattr(there, name) if value is None else value
                    for name, value in values.items()
                },
            )
    return settings


def encode(vf: int, settings: model.VfSettings) -> bytes:
    """What is not None, for VF number ``vf``.

    VLAN, priority and protocol are one attribute, and so are the rates: of
    these all must be given, or none.
    """
    parts = []
    if settings.mac is not None:
        mac = bytes.fromhex(settings.mac.replace(':', ''))
        parts.append(encode_attribute(_MAC, _MAC_FORMAT.pack(vf, mac)))
    if settings.vlan is not None and settings.vlan_qos is not None:
        protocol = next(
            key
            for key, name in _PROTOCOLS.items()
            if name == (settings.vlan_proto or '802.1q')
        )
        info = _VLAN_INFO_FORMAT.pack(
            vf, settings.vlan, settings.vlan_qos, protocol
        )
        parts.append(
            encode_attribute(
                _VLAN_LIST | _NESTED, encode_attribute(_INFO, info)
            )
        )
    if settings.min_tx_rate is not None and settings.max_tx_rate is not None:
        rate = _RATE_FORMAT.pack(
            vf, settings.min_tx_rate, settings.max_tx_rate
        )
        parts.append(encode_attribute(_RATE, rate))
    state = settings.link_state
    for kind, number in (
        (_SPOOFCHK, settings.spoofchk),
        (_LINK_STATE, None if state is None else _LINK_STATES.index(state)),
        (_TRUST, settings.trust),
    ):
        if number is not None:
            parts.append(
                encode_attribute(kind, _NUMBER_FORMAT.pack(vf, number))
            )
    for kind, guid in (
        (_NODE_GUID, settings.node_guid),
        (_PORT_GUID, settings.port_guid),
    ):
        if guid is not None:
            value = int(guid.replace(':', ''), 16)
            parts.append(encode_attribute(kind, _GUID_FORMAT.pack(vf, value)))
    return encode_attribute(_INFO | _NESTED, b''.join(parts))


class HeldSettings(Sequence[model.VfSettings | None]):
    """What the kernel says of each VF, in the order of their numbers.

    None for one that it leaves out, for want of an answer of the driver
    (rtnl_fill_vfinfo). Each is decoded when it is asked for: a PF tells of
    all its VFs, of which an attachment needs one.
    """

    def __init__(self, payload: bytes) -> None:
        # Each begins with its MAC (rtnl_fill_vfinfo), and that with its
        # number.
        self._infos = {
            _MAC_FORMAT.unpack_from(info, _ATTRIBUTE_HEADER)[0]: info
            for _, info in split_attributes(payload)
        }
        self._indexes = range(max(self._infos, default=-1) + 1)

    def __len__(self) -> int:
        return len(self._indexes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(map(self._decode, self._indexes[index]))
        return self._decode(self._indexes[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __repr__(self) -> str:
        return repr(tuple(self))

    def _decode(self, number: int) -> model.VfSettings | None:
        info = self._infos.get(number)
        return None if info is None else _decode_vf(info)


def _decode_vf(info: bytes) -> model.VfSettings:
    attributes = dict(split_attributes(info))
    _, mac = _MAC_FORMAT.unpack_from(attributes[_MAC])

    def number(kind: int) -> int | None:
        if kind not in attributes:
            return None
        _, value = _NUMBER_FORMAT.unpack_from(attributes[kind])
        return None if value == _UNREPORTED else int(value)

    def flag(kind: int) -> bool | None:
        value = number(kind)
        return None if value is None else bool(value)

    def guid(kind: int) -> str | None:
        if kind not in attributes:
            return None  # Ethernet, or a kernel before 5.5
        _, value = _GUID_FORMAT.unpack_from(attributes[kind])
        return int(value).to_bytes(8).hex(':')

    lowest, highest = None, None
    if _RATE in attributes:
        _, lowest, highest = _RATE_FORMAT.unpack_from(attributes[_RATE])
    vlan, qos, protocol = None, None, b''
    for _, info in split_attributes(attributes.get(_VLAN_LIST, b'')):
        _, vlan, qos, protocol = _VLAN_INFO_FORMAT.unpack_from(info)
    # Kernels before 4.9 have no list.
    if vlan is None and _VLAN in attributes:
        _, vlan, qos = _VLAN_FORMAT.unpack_from(attributes[_VLAN])
    state = number(_LINK_STATE)
    return model.VfSettings(
        mac=mac[:6].hex(':'),
        vlan=vlan,
        vlan_qos=qos,
        vlan_proto=_PROTOCOLS.get(protocol),
        min_tx_rate=lowest,
        max_tx_rate=highest,
        spoofchk=flag(_SPOOFCHK),
        trust=flag(_TRUST),
        link_state=None if state is None else _LINK_STATES[state],
        node_guid=guid(_NODE_GUID),
        port_guid=guid(_PORT_GUID),
    )
