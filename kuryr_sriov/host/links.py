# SPDX-License-Identifier: Apache-2.0
"""Network interfaces, by rtnetlink.

``netlink_socket`` carries each request, in one socket that is opened in the
network namespace that is asked. Thus nothing is shared or left open, and no
namespace is kept alive.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import pathlib
import socket
from collections.abc import Mapping, Sequence

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import (
    announcements,
    ethtool,
    link_messages,
    netlink_socket,
    request_messages,
    vf_settings,
    wait,
)
from kuryr_sriov.host import netns as namespaces

# Seconds that a link without carrier is waited for: igbvf, ixgbevf and others
# look every two seconds, and the first time may be too early.
CARRIER_TIMEOUT = 5.0


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
        request = request_messages.list_links()
        for data in self._send_request('find', pci, request, netns):
            found = link_messages.link_attributes(data)
            if self._find_owner(found, netns) == pci:
                return link_messages.decode_link(data, found, pci)
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
        with contextlib.ExitStack() as stack:
            target = None
            if to is not None:
                target = stack.enter_context(namespaces.opened(to))
            request = request_messages.set_link(
                *(index, target),
                name=name,
                mac=mac,
                mtu=mtu,
                alias=alias,
                up=up,
            )
            # Once it has moved, that index is somebody else's there.
            self._send_request(
                'set', index, request, netns, once=to is not None
            )

    def remove_altname(self, index: int, name: str) -> bool:
        """Remove an alternative name; False where it has no such one."""
        request = request_messages.remove_altname(index, name)
        what = f'{index} of its name {name}'
        try:
            self._send_request('remove_altname', what, request)
        except exceptions.KernelError as error:
            # EINVAL: the name is another interface's, or this one's own
            # (netdev_name_node_alt_destroy).
            if error.errno not in (errno.ENOENT, errno.EINVAL):
                raise
            return False
        return True

    def pf(self, index: int) -> model.PfLink:
        """A PF's interface, and what it holds for each of its VFs."""
        request = request_messages.get_pf(index)
        (data,) = self._send_request('pf', index, request)
        found = link_messages.link_attributes(data)
        owner = self._find_owner(found, '')
        return model.PfLink(
            link=link_messages.decode_link(data, found, owner),
            vfs=vf_settings.HeldSettings(
                found.get(link_messages.VFINFO_LIST, b'')
            ),
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
        encoded = vf_settings.encode(vf_index, settings)
        request = request_messages.set_vf(pf_index, encoded)
        self._send_request('set_vf', f'{pf_index} vf {vf_index}', request)

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
        request = request_messages.list_addresses()
        listed = self._send_request('addresses', index, request, netns)
        return request_messages.read_addresses(listed, index)

    def add_address(self, index: int, address: str, netns: str) -> None:
        """Add an address (with prefix), usable at once; no DAD."""
        request = request_messages.add_address(index, address)
        what = f'{index}, {address}'
        self._send_request('add_address', what, request, netns)

    def routes(self, index: int, netns: str) -> Sequence[model.Route]:
        """Routes through the interface, but for the on-link prefixes."""
        request = request_messages.list_routes()
        listed = self._send_request('routes', index, request, netns)
        return request_messages.read_routes(listed, index)

    def add_route(self, index: int, route: model.Route, netns: str) -> None:
        """Add a route through the interface, beside those of others.

        A default route comes before any other, which comes back into its
        own when this one goes with its interface. Any other route comes
        after those that are there.
        """
        request = request_messages.add_route(index, route)
        what = f'{index}, {route.destination} via {route.gateway or "link"}'
        self._send_request('add_route', what, request, netns)

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
        request = request_messages.get_link(index)
        (data,) = self._send_request(operation, index, request, netns)
        return data

    def _decode_link(self, message: bytes, netns: str) -> model.Link:
        """The interface, with the PCI address of its function."""
        found = link_messages.link_attributes(message)
        owner = self._find_owner(found, netns)
        return link_messages.decode_link(message, found, owner)

    def _find_owner(self, attributes: Mapping[int, bytes], netns: str) -> str:
        """The PCI address of the function that an interface belongs to."""
        parent = (
            link_messages.read_parent(attributes)
            if self._netlink_tells_parent
            else ethtool.read_bus_info(
                link_messages.read_name(attributes), netns
            )
        )
        # which may be a virtio device on it
        if not parent.startswith('virtio'):
            return parent
        device = os.path.realpath(self._virtio / parent)
        return os.path.basename(os.path.dirname(device))

    def _send_request(
        self,
        operation: str,
        what: object,
        request: bytes,
        netns: str = '',
        *,
        once: bool = False,
    ) -> list[bytes]:
        where = f' in {netns}' if netns else ''
        what = f'{operation} of interface {what}{where}'
        return self._channel.request(
            operation, what, request, netns, once=once
        )
