# SPDX-License-Identifier: Apache-2.0
"""Binding driver ``netdevice``: the VF's netdev goes into the pod."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import ipaddress
from collections.abc import Iterable

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.vf import interfaces, rdma_device, vf_driver
from kuryr_sriov.host import pci_functions, wait

# Kernel drivers by the name an operator gives them, and their PCI part.
KERNEL_DRIVERS = {
    'bnxt_en': 'bnxt_en',
    'hinic': 'hinic',
    # the name of iavf before Linux 4.20
    'i40evf': 'i40evf',
    'iavf': 'iavf',
    'igbvf': 'igbvf',
    'ixgbevf': 'ixgbevf',
    'qede': 'qede',
    'sfc': 'sfc',
    'virtio_net': 'virtio-pci',
}


class NetdeviceDriver(vf_driver.VfDriver):
    """Moves the netdev of a VF, with its addresses and routes.

    Chosen by the name of a kernel driver it binds that one; by another,
    such as ``netdevice``, it takes whichever the kernel binds.

    :ivar kernel_driver: binds that one, whatever it was chosen by; empty
        for what is said above.
    """

    kernel_driver: str = ''

    def connect(self, attachment: model.Attachment) -> None:
        """Configure the PF, then move and rename in one request."""
        vif, pci = attachment.vif, attachment.pci
        self.ensure_driver(self.host.pci.device(pci))
        # The VF's own MAC first: once the PF has pinned one, igbvf and
        # others refuse a change until the driver is bound again.
        device = self.host.pci.wait_netdev(pci, self.device_timeout)
        link = interfaces.get_link(self.host, device)
        self.refuse_other_port(link, vif)
        accepted = self.set_mac(link, vif.mac)
        self.configure_pf(device, attachment)
        if not accepted:
            self.rebind(device)
            link = self.wait_for_link(pci)
        self._move_to_pod(attachment, link)
        link = self._confirm_link(attachment)
        self._configure_l3(link, attachment)
        rdma_device.move_to_pod(self.host, attachment, self.device_timeout)

    def announce(self, attachment: model.Attachment) -> None:
        """Gratuitous ARP and unsolicited NA for each address."""
        netns, addresses = attachment.sandbox.netns, attachment.vif.addresses
        links = self.host.links
        link = links.find(attachment.pci, netns) if addresses else None
        if link is not None:
            links.announce(link.index, addresses, netns)

    def check(self, attachment: model.Attachment) -> None:
        """Compare PF settings, netdev, addresses and routes with the VIF."""
        vif, netns = attachment.vif, attachment.sandbox.netns
        drift = self.list_drift(attachment)
        links = self.host.links
        link = (
            links.find(attachment.pci, netns) if links.alive(netns) else None
        )
        if link is None:
            drift.append(f'its interface is not in {netns}')
        else:
            drift += _list_differences(link, vif)
            missing = _canonical_addresses(
                vif.addresses
            ) - _canonical_addresses(links.addresses(link.index, netns))
            drift += [f'address {each} is gone' for each in sorted(missing)]
            lost = _canonical_routes(_list_routes(vif)) - _canonical_routes(
                links.routes(link.index, netns)
            )
            drift += [f'route {each} is gone' for each in sorted(lost)]
        drift += rdma_device.list_drift(self.host, attachment)
        self.refuse_drift(attachment, drift)

    def device_info(self, attachment: model.Attachment) -> model.DeviceInfo:
        """PCI addresses, and the RDMA device that the pod can use."""
        device = self.host.pci.device(attachment.pci)
        info = model.DeviceInfo(pci=device.pci, pf_pci=device.pf)
        if not rdma_device.is_usable_in_pod(self.host, device):
            return info
        return dataclasses.replace(
            info,
            rdma_device=device.rdma_device,
            device_nodes=self.host.pci.rdma_nodes(device.verbs),
        )

    def ensure_driver(self, device: model.PciDevice) -> None:
        """Bind the VF to a kernel driver, if it is not."""
        driver = self.kernel_driver or KERNEL_DRIVERS.get(self.name)
        if driver is None:
            if not pci_functions.makes_netdev(device.driver):
                self.bind_driver(device.pci, None)
        elif device.driver != driver:
            self.bind_driver(device.pci, driver)

    def _move_to_pod(
        self, attachment: model.Attachment, link: model.Link
    ) -> None:
        """Move, rename and bring up; the old name travels as alias."""
        vif, netns = attachment.vif, attachment.sandbox.netns
        links = self.host.links

        def configure(index: int, netns: str, to: str | None) -> None:
            # In one request: udev does not see the pod's name on the node, nor
            # the pod the node's.
            links.set(
                index,
                netns,
                to=to,
                name=vif.ifname,
                mtu=vif.mtu,
                alias=attachment.original.ifname or link.name,
                up=True,
            )

        def finish() -> bool:
            # It may be there already: iavf, for one, does not open while it
            # resets (EBUSY), which is long after the move.
            arrived = links.find(attachment.pci, netns)
            if arrived is None:
                configure(link.index, '', netns)
            else:
                configure(arrived.index, netns, None)
            return True

        try:
            try:
                configure(link.index, '', netns)
            except exceptions.DeviceBusy as error:
                wait.wait_for(finish, self.device_timeout, str(error))
        except exceptions.KernelError as error:
            # The pod's own interfaces, or a program in it, have the name
            # already.
            if error.errno == errno.EEXIST:
                raise exceptions.KernelError(
                    f'{vif.ifname} exists already in pod '
                    f'{attachment.sandbox.pod}; ask for another name in the '
                    'networks annotation (name@ifname)',
                    error.errno,
                ) from error
            self._confirm_link(attachment, error)
            raise

    def _confirm_link(
        self,
        attachment: model.Attachment,
        cause: exceptions.KernelError | None = None,
    ) -> model.Link:
        """The interface in the pod; refused settings are named."""
        vif, netns = attachment.vif, attachment.sandbox.netns

        def find() -> model.Link:
            link = self.host.links.find(attachment.pci, netns)
            if link is None:
                raise cause or exceptions.DeviceBusy(
                    f'{attachment.pci}: its interface did not arrive in '
                    f'{netns}'
                )
            return link

        def find_with_mac() -> model.Link | None:
            link = find()
            return link if link.mac == vif.mac else None

        link = find()
        if link.mac != vif.mac and cause is None:
            # iavf and mlx5 take it later than they say.
            with contextlib.suppress(exceptions.DeviceBusy):
                link = wait.wait_for(
                    find_with_mac, self.device_timeout, f'MAC {vif.mac}'
                )
        for name, value in (('mac', vif.mac), ('mtu', vif.mtu)):
            if value and getattr(link, name) != value:
                raise exceptions.UnsupportedSetting(
                    f'{vif.ifname}: {name} {value} cannot be set on VF '
                    f'{attachment.pci}, which keeps {getattr(link, name)}; '
                    'ask for another, or trust the VF',
                    name,
                ) from cause
        return link

    def _configure_l3(
        self, link: model.Link, attachment: model.Attachment
    ) -> None:
        vif, netns = attachment.vif, attachment.sandbox.netns
        links = self.host.links
        for address in vif.addresses:
            links.add_address(link.index, address, netns)
        for route in _list_routes(vif):
            links.add_route(link.index, route, netns)


class BifurcatedDriver(NetdeviceDriver):
    """For NICs that userspace shares with the kernel driver (mlx5_core).

    The VF is never bound to another driver.
    """

    def ensure_driver(self, device: model.PciDevice) -> None:
        """Refuse a VF that another driver has."""
        # Unbinding mlx5_core would take the RDMA device away from programs,
        # too.
        if device.driver != self.name:
            raise exceptions.UnsupportedSetting(
                f'{device.pci} is bound to {device.driver or "no driver"}, '
                f'not to {self.name}, which is never changed for such a NIC; '
                f'bind it, or correct [sriov] resource_driver_mappings',
                'driver',
            )


def _list_routes(vif: model.Vif) -> list[model.Route]:
    """The routes of the subnet, then one to each default gateway."""
    return [*vif.routes, *map(_make_default_route, vif.gateways)]


def _make_default_route(gateway: str) -> model.Route:
    version = ipaddress.ip_address(gateway).version
    return model.Route('::/0' if version == 6 else '0.0.0.0/0', gateway)


def _canonical_addresses(addresses: Iterable[str]) -> set[str]:
    return {str(ipaddress.ip_interface(address)) for address in addresses}


def _canonical_routes(routes: Iterable[model.Route]) -> set[str]:
    """One text for each, however its addresses are written."""
    texts = set()
    for route in routes:
        text = str(ipaddress.ip_network(route.destination))
        if route.gateway:
            text += f' via {ipaddress.ip_address(route.gateway)}'
        texts.add(text)
    return texts


def _list_differences(link: model.Link, vif: model.Vif) -> list[str]:
    found = [
        f'{name} is {getattr(link, name)}, not {value}'
        for name, value in (
            ('name', vif.ifname),
            ('mac', vif.mac),
            ('mtu', vif.mtu),
        )
        if value and getattr(link, name) != value
    ]
    return found if link.up else [*found, 'it is down']
