# SPDX-License-Identifier: Apache-2.0
"""Network interfaces, by rtnetlink.

pyroute2 writes and reads the messages; ``rtnetlink`` carries them, in one
socket per request, opened in the network namespace that is asked. Thus no
thread shares anything, nothing is left open, and no namespace is kept alive.
Follows ``rtnetlink(7)`` and the kernel's ``net/core/rtnetlink.c``.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import ipaddress
import os
import pathlib
import socket
from collections.abc import Sequence
from typing import Any

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl import (
    RTM_DELLINKPROP,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWROUTE,
    RTM_SETLINK,
)
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD, ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import (
    announcements,
    ethtool,
    link_messages,
    netlink_socket,
    vf_settings,
    wait,
)
from kuryr_sriov.host import netns as namespaces

# Seconds that a link without carrier is waited for: igbvf, ixgbevf and others
# look every two seconds, and the first time may be too early.
CARRIER_TIMEOUT = 5.0

# What to list with a link (linux/rtnetlink.h): its VFs, but no counters,
# which would not fit for many VFs.
RTEXT_FILTER_VF, RTEXT_FILTER_SKIP_STATS = 0x1, 0x8
RT_TABLE_MAIN = 254
RTPROT_KERNEL, RTPROT_STATIC = 2, 4
IP6_RT_PRIO_USER = 1024
UNIVERSE, RT_SCOPE_LINK = 0, 253
RTN_UNICAST = 1
ACK, DUMP = netlink_socket.ACK, netlink_socket.DUMP
NEW = ACK | netlink_socket.CREATE | netlink_socket.EXCL
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
DEFAULTS = {socket.AF_INET: '0.0.0.0', socket.AF_INET6: '::'}


class _VfMessage(nlmsg):  # type: ignore[misc]
    """ifinfomsg, its VFs left to ``vf_settings``."""

    prefix = 'IFLA_'
    fields = ifinfmsg.fields
    nla_map = (
        (22, 'IFLA_VFINFO_LIST', 'cdata'),
        (29, 'IFLA_EXT_MASK', 'uint32'),
    )


class Netlink:
    """This node's network interfaces; implements ``binding.base.Links``.

    :param root: where ``sys`` is mounted.
    """

    def __init__(self, root: str | os.PathLike[str] = '/') -> None:
        self._channel = netlink_socket.Channel()
        self._virtio = pathlib.Path(root, 'sys/bus/virtio/devices')
        self._netlink_tells_parent = ethtool.netlink_tells_parent()

    @property
    def requests(self) -> collections.Counter[str]:
        """Requests sent so far, by method."""
        return self._channel.requests

    def alive(self, netns: str) -> bool:
        """Whether there is a network namespace at that path."""
        return namespaces.alive(netns)

    def identify(self, netns: str) -> str:
        """Device and inode of the namespace's file."""
        return namespaces.identify(netns)

    def find(self, pci: str, netns: str) -> model.Link | None:
        """The interface of a PCI function in ``netns``, by any name."""
        # No request asks for an interface by its PCI address; a list of all
        # is one exchange, too.
        for data in self._list_objects(
            'find', pci, ifinfmsg, RTM_GETLINK, netns
        ):
            link = self._decode_link(data, netns)
            if link.pci == pci:
                return link
        return None

    def get(self, index: int, netns: str = '') -> model.Link:
        """The interface with that index."""
        message = self._get_message('get', index, netns)
        return self._decode_link(message, netns)

    def set(
        self,
        index: int,
        netns: str = '',
        *,
        to: str | None = None,
        name: str = '',
        mac: str = '',
        mtu: int = 0,
        alias: str | None = None,
        up: bool | None = None,
    ) -> None:
        """Change all that is given, moving it to the netns ``to`` first.

        A move is not tried again where the kernel is busy: it may be done.
        The kernel's order (do_setlink): netns, MAC, MTU, name, alias, up;
        what precedes a refusal stays done.
        """
        wanted = {
            'IFLA_ADDRESS': mac,
            'IFLA_MTU': mtu,
            'IFLA_IFNAME': name,
        }
        attributes: list[Any] = [[k, v] for k, v in wanted.items() if v]
        if alias is not None:
            attributes.append(['IFLA_IFALIAS', alias])
        with contextlib.ExitStack() as stack:
            if to is not None:
                # By descriptor: a PID could be another process's by now.
                target = stack.enter_context(namespaces.opened(to))
                attributes.append(['IFLA_NET_NS_FD', target])
            message = ifinfmsg()
            message['index'] = index
            # With flags and mask 0 the kernel leaves the flags alone
            # (do_setlink).
            message['flags'] = IFF_UP if up else 0
            message['change'] = 0 if up is None else IFF_UP
            message['attrs'] = attributes
            # Once it has moved, that index is somebody else's there.
            self._send_request(
                *('set', index, message, RTM_SETLINK, ACK, netns),
                once=to is not None,
            )

    def remove_altname(self, index: int, name: str) -> bool:
        """Remove an alternative name; False where it has no such one."""
        message = ifinfmsg()
        message['index'] = index
        names = {'attrs': [['IFLA_ALT_IFNAME', name]]}
        message['attrs'] = [['IFLA_PROP_LIST', names]]
        what = f'{index} of its name {name}'
        try:
            self._send_request(
                'remove_altname', what, message, RTM_DELLINKPROP, ACK
            )
        except exceptions.KernelError as error:
            # EINVAL: the name is another interface's, or this one's own
            # (netdev_name_node_alt_destroy).
            if error.errno not in (errno.ENOENT, errno.EINVAL):
                raise
            return False
        return True

    def pf(self, index: int) -> model.PfLink:
        """A PF's interface, and what it holds for each of its VFs."""
        request = _VfMessage()
        request['index'] = index
        mask = RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS
        request['attrs'] = [['IFLA_EXT_MASK', mask]]
        (data,) = self._send_request('pf', index, request, RTM_GETLINK, 0)
        listed = link_messages.link_attributes(data)
        return model.PfLink(
            link=self._decode_link(data, ''),
            vfs=vf_settings.decode(listed.get(link_messages.VFINFO_LIST, b'')),
        )

    def set_vf(
        self, pf_index: int, vf_index: int, settings: model.VfSettings
    ) -> None:
        """Set what is not None; on an error some of it may be set.

        What the kernel takes only together (VLAN, priority and protocol;
        both rates) is completed with what is there, if need be.
        """
        settings = vf_settings.complete_groups(
            settings, lambda: self._get_held(pf_index, vf_index)
        )
        message = _VfMessage()
        message['index'] = pf_index
        encoded = vf_settings.encode(vf_index, settings)
        message['attrs'] = [['IFLA_VFINFO_LIST', encoded]]
        self._send_request(
            'set_vf', f'{pf_index} vf {vf_index}', message, RTM_SETLINK, ACK
        )

    def _get_held(self, pf_index: int, vf_index: int) -> model.VfSettings:
        vfs = self.pf(pf_index).vfs
        held = vfs[vf_index] if vf_index < len(vfs) else None
        if held is None:
            raise exceptions.KernelError(
                f'Interface {pf_index} tells of no VF {vf_index}; see its '
                f'sriov_numvfs',
                errno.ENODEV,
            )
        return held

    def addresses(self, index: int, netns: str) -> Sequence[str]:
        """Global addresses of the interface, with prefix."""
        found = []
        for data in self._list_objects(
            'addresses', index, ifaddrmsg, RTM_GETADDR, netns
        ):
            message = _decode_message(ifaddrmsg, data)
            if (message['index'], message['scope']) == (index, UNIVERSE):
                # IPv6 has IFA_LOCAL only where there is a peer
                # (inet6_fill_ifaddr).
                local = message.get_attr('IFA_LOCAL')
                address = local or message.get_attr('IFA_ADDRESS')
                found.append(f'{address}/{message["prefixlen"]}')
        return found

    def add_address(self, index: int, address: str, netns: str) -> None:
        """Add an address (with prefix), usable at once; no DAD."""
        interface = ipaddress.ip_interface(address)
        ip = str(interface.ip)
        message = ifaddrmsg()
        message['family'] = FAMILIES[interface.version]
        message['prefixlen'] = interface.network.prefixlen
        # Else IPv6 addresses are tentative for a second, and no program can
        # bind to them. The provider has given each to one port only.
        message['flags'] = IFA_F_NODAD
        message['index'] = index
        # An IFA_ADDRESS of its own would be that of a peer.
        message['attrs'] = [['IFA_LOCAL', ip], ['IFA_ADDRESS', ip]]
        if interface.version == 4 and interface.network.prefixlen < 31:
            # ip(8) adds it, but the kernel does not. A /31 has none (RFC
            # 3021).
            broadcast = str(interface.network.broadcast_address)
            message['attrs'].append(['IFA_BROADCAST', broadcast])
        what = f'{index}, {address}'
        self._send_request(
            'add_address', what, message, RTM_NEWADDR, NEW, netns
        )

    def routes(self, index: int, netns: str) -> Sequence[model.Route]:
        """Routes through the interface, but for the on-link prefixes."""
        found = []
        for data in self._list_objects(
            'routes', index, rtmsg, RTM_GETROUTE, netns
        ):
            message = _decode_message(rtmsg, data)
            if (
                message.get_attr('RTA_OIF') == index
                and message.get_attr('RTA_TABLE') == RT_TABLE_MAIN
                # The kernel adds the on-link prefix of each address by itself.
                and message['proto'] != RTPROT_KERNEL
                and message['type'] == RTN_UNICAST
            ):
                default = DEFAULTS[message['family']]
                prefix = message.get_attr('RTA_DST') or default
                gateway = message.get_attr('RTA_GATEWAY') or ''
                destination = f'{prefix}/{message["dst_len"]}'
                found.append(model.Route(destination, gateway))
        return found

    def add_route(self, index: int, route: model.Route, netns: str) -> None:
        """Add a route through the interface, beside those of others.

        A default route comes before any other, which comes back into its
        own when this one goes with its interface. Any other route comes
        after those that are there.
        """
        network = ipaddress.ip_network(route.destination)
        is_default = not network.prefixlen
        message = rtmsg()
        message['family'] = FAMILIES[network.version]
        message['dst_len'] = network.prefixlen
        message['table'] = RT_TABLE_MAIN
        message['proto'] = RTPROT_STATIC
        # A gateway has to be reached by a route of a narrower scope
        # (fib_check_nh).
        message['scope'] = UNIVERSE if route.gateway else RT_SCOPE_LINK
        message['type'] = RTN_UNICAST
        message['attrs'] = [['RTA_OIF', index]]
        flags = ACK | netlink_socket.CREATE
        if network.version == 6:
            # Routes of the same metric would share the traffic (ECMP). Those
            # without have 1024 (IP6_RT_PRIO_USER); 1 precedes them all.
            flags |= netlink_socket.EXCL
            metric = 1 if is_default else IP6_RT_PRIO_USER + index
            message['attrs'].append(['RTA_PRIORITY', metric])
        elif not is_default:
            # Without the flag, a route precedes its equals
            # (fib_table_insert), which no metric could do: they have 0.
            flags |= netlink_socket.APPEND
        if network.prefixlen:
            destination = str(network.network_address)
            message['attrs'].append(['RTA_DST', destination])
        if route.gateway:
            message['attrs'].append(['RTA_GATEWAY', route.gateway])
        what = f'{index}, {route.destination} via {route.gateway or "link"}'
        self._send_request(
            'add_route', what, message, RTM_NEWROUTE, flags, netns
        )

    def announce(
        self, index: int, addresses: Sequence[str], netns: str
    ) -> None:
        """Tell the neighbours: gratuitous ARP, or unsolicited NA.

        Frames sent before the link has its carrier would be lost; so wait
        for that, once for all addresses.
        """

        def find_running() -> model.Link | None:
            message = self._get_message('announce', index, netns)
            link = self._decode_link(message, netns)
            return link if link.carrier else None

        what = f'the carrier of interface {index}; see its cable and switch'
        link = wait.wait_for(find_running, CARRIER_TIMEOUT, what)
        try:
            with namespaces.open_socket(
                netns, socket.AF_PACKET, socket.SOCK_RAW
            ) as packets:
                # Protocol 0: no frame is queued for it, since it only sends.
                packets.bind((link.name, 0))
                for address in addresses:
                    packets.send(announcements.make_frame(link.mac, address))
        except OSError as error:
            what = f'announce {", ".join(addresses)} on interface {index}'
            raise netlink_socket.map_error(error, what) from error

    def _get_message(self, operation: str, index: int, netns: str) -> bytes:
        request = ifinfmsg()
        request['index'] = index
        (data,) = self._send_request(
            operation, index, request, RTM_GETLINK, 0, netns
        )
        return data

    def _decode_link(self, message: bytes, netns: str) -> model.Link:
        """The interface, with the PCI address of its function."""
        link = link_messages.decode_link(message)
        parent = (
            link.pci
            if self._netlink_tells_parent
            else ethtool.read_bus_info(link.name, netns)
        )
        return dataclasses.replace(link, pci=self._find_pci(parent))

    def _find_pci(self, parent: str) -> str:
        """The PCI address of a parent, which may be a virtio device on it."""
        if not parent.startswith('virtio'):
            return parent
        device = os.path.realpath(self._virtio / parent)
        return os.path.basename(os.path.dirname(device))

    def _list_objects(
        self, operation: str, what: object, form: Any, kind: int, netns: str
    ) -> list[bytes]:
        message = form()
        # Sets the whole fixed part: without it IPv6 routes are left out.
        message['family'] = socket.AF_UNSPEC
        return self._send_request(operation, what, message, kind, DUMP, netns)

    def _send_request(
        self,
        operation: str,
        what: object,
        message: Any,
        kind: int,
        flags: int,
        netns: str = '',
        *,
        once: bool = False,
    ) -> list[bytes]:
        message['header']['type'] = kind
        message['header']['flags'] = netlink_socket.REQUEST | flags
        message.encode()
        where = f' in {netns}' if netns else ''
        what = f'{operation} of interface {what}{where}'
        return self._channel.request(
            operation, what, bytes(message.data), netns, once=once
        )


def _decode_message(kind: Any, data: bytes) -> Any:
    message = kind(data)
    message.decode()
    return message
