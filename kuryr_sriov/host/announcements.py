# SPDX-License-Identifier: Apache-2.0
"""Frames that tell the neighbours where an address is now."""

from __future__ import annotations

import ipaddress
import struct

_ALL_NODES = ipaddress.IPv6Address('ff02::1').packed


def make_frame(mac: str, address: str) -> bytes:
    """An Ethernet frame: ARP announcement, or unsolicited neighbour advert.

    Follows RFC 5227 (2.3) and RFC 4861 (7.2.6), in an override of what
    neighbours know.
    """
    own = bytes.fromhex(mac.replace(':', ''))
    ip = ipaddress.ip_interface(address).ip
    if ip.version == 4:
        return _arp_announcement(own, ip.packed)
    return _neighbour_advertisement(own, ip.packed)


def _arp_announcement(mac: bytes, ip: bytes) -> bytes:
    broadcast = b'\xff' * 6
    header = broadcast + mac + b'\x08\x06'
    # A request, not a reply: some hosts ignore replies that they did not ask
    # for (RFC 5227, 3).
    request = struct.pack('>HHBBH', 1, 0x0800, 6, 4, 1)
    return header + request + mac + ip + bytes(6) + ip


def _neighbour_advertisement(mac: bytes, ip: bytes) -> bytes:
    override = 0x20000000
    option = bytes((2, 1)) + mac  # target link-layer address, 8 octets
    body = struct.pack('>I', override) + ip + option
    length = 4 + len(body)
    pseudo = ip + _ALL_NODES + struct.pack('>II', length, 58)
    checksum = _checksum(pseudo + struct.pack('>BBH', 136, 0, 0) + body)
    header = b'\x33\x33\0\0\0\x01' + mac + b'\x86\xdd'
    # Receivers drop any other hop limit: it would have been routed (RFC 4861,
    # 7.1.2).
    ipv6 = struct.pack('>IHBB', 6 << 28, length, 58, 255) + ip + _ALL_NODES
    return header + ipv6 + struct.pack('>BBH', 136, 0, checksum) + body


def _checksum(data: bytes) -> int:
    """RFC 1071, over an even number of octets."""
    total: int = sum(struct.unpack(f'>{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
