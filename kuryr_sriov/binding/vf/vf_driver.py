# SPDX-License-Identifier: Apache-2.0
"""What all shipped binding drivers share: the PF's side, and the way home."""

from __future__ import annotations

import dataclasses
import errno
import logging

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base
from kuryr_sriov.binding.vf import control, rename, settings

LOG = logging.getLogger(__name__)


class VfDriver(base.BindingDriver):
    """``snapshot`` and ``disconnect`` for any VF; the PF's side of both."""

    def snapshot(self, pci: str) -> model.VfState:
        """The VF's state: driver, netdev, and what its PF holds for it."""
        device = self.host.pci.device(pci)
        side = self._pf(device)
        state = model.VfState(
            driver=device.driver, settings=side.held() if side else None
        )
        if not device.ifindex:
            return state
        link = self.host.links.get(device.ifindex)
        return dataclasses.replace(
            state,
            ifname=link.name,
            mac=link.mac,
            mtu=link.mtu,
            alias=link.alias,
            up=link.up,
        )

    def configure(
        self, device: model.PciDevice, attachment: model.Attachment
    ) -> None:
        """Have the PF hold what the VIF asks for, and read it back."""
        target = settings.wanted(attachment.vif)
        current = attachment.original.settings
        side = self._pf(device)
        if side is None or current is None:
            self._check_guest(attachment.vif, target)
        else:
            side.set(target, current)

    def disconnect(self, attachment: model.Attachment) -> None:
        """Restore driver, PF settings and netdev, wherever the VF is."""
        original = attachment.original
        try:
            device = self.host.pci.device(attachment.pci)
        except exceptions.DeviceMissing:
            LOG.warning(
                '%s is gone, nothing of it is left to restore', attachment.pci
            )
            return
        if device.driver != original.driver:
            # Before the PF lets it off the pod's VLAN: nobody drives it then.
            self._bind(attachment.pci, '')
        elif original.ifname:
            self._bring_home(attachment, device)
        side = self._pf(device)
        if original.settings is None or side is None:
            self._restore_driver(attachment, silent=False)
            return
        current = side.held()
        target = settings.unpinned(original, current)
        side.set(target, current)
        own = original.mac == original.settings.mac
        self._restore_driver(attachment, own and target != original.settings)
        # By now the PF may show what the VF has told it, if it ever does.
        side.set(original.settings, side.held())

    def drift(self, attachment: model.Attachment) -> list[str]:
        """What the PF holds that is not what the VIF asks for."""
        side = self._pf(self.host.pci.device(attachment.pci))
        if side is None:
            return []
        current = side.held()
        target = settings.wanted(attachment.vif)
        return [
            f'{name} is {getattr(current, name)}, not {getattr(target, name)}'
            for name in settings.differing(target, current)
        ]

    def _bind(self, pci: str, driver: str | None) -> None:
        self.host.pci.bind(pci, driver, self.conf.device_timeout)

    def _pf(self, device: model.PciDevice) -> control.PfSide | None:
        """What the PF holds for the VF; None where it is out of reach."""
        if device.vf_index is None:
            return None
        return control.PfSide(self.host, device, self.conf.device_timeout)

    def _check_guest(self, vif: model.Vif, target: model.VfSettings) -> None:
        guest = dataclasses.replace(settings.GUEST, mac=vif.mac, vlan=vif.vlan)
        for name in settings.differing(target, guest):
            raise settings.unsupported(
                vif.ifname,
                name,
                getattr(target, name),
                'this node is a VM, whose hypervisor has the PF; set it there',
            )

    def _bring_home(
        self, attachment: model.Attachment, device: model.PciDevice
    ) -> None:
        """See to it that the netdev is, or will be, in the node's netns."""
        if device.ifindex:
            return
        netns = attachment.sandbox.netns
        links = self.host.links
        try:
            link = (
                links.find(device.pci, netns) if links.alive(netns) else None
            )
            if link is not None:
                self._fetch(attachment, link)
                return
        except exceptions.KernelError:
            if links.alive(netns):
                raise
            # The netns went just now.
        # In a netns that nobody can name any more, or still probing.
        self.rebind(device)

    def _fetch(self, attachment: model.Attachment, link: model.Link) -> None:
        """Move the netdev home, in one request if its name is free here."""
        original, pci = attachment.original, attachment.pci
        links, netns = self.host.links, attachment.sandbox.netns
        try:
            links.set(
                link.index,
                netns,
                to='',
                mtu=original.mtu,
                name=original.ifname,
                alias=original.alias,
            )
        except exceptions.KernelError as error:
            if error.errno != errno.EEXIST:
                raise
            # Under a name that nobody has: by now it may be here already,
            # under the pod's.
            index = self.host.pci.device(pci).ifindex
            where = (index, '') if index else (link.index, netns)
            links.set(*where, to='', name=rename.spare(pci))

    def _restore_driver(
        self, attachment: model.Attachment, silent: bool
    ) -> None:
        """Its driver, and the netdev's MAC, name, MTU, alias and state.

        :param silent: the PF does not know the VF's own MAC any more, and
            setting the one it has would be no change to the kernel.
        """
        original, pci = attachment.original, attachment.pci
        # Also to the driver it has: a crash may have left driver_override.
        self._bind(pci, original.driver)
        if not original.ifname:
            return
        device = self.host.pci.wait_netdev(pci, self.conf.device_timeout)
        link = self.host.links.get(device.ifindex)
        silent = silent and link.mac == original.mac
        if not silent and self._restored_at_once(link, original):
            return
        link = self.host.links.get(device.ifindex)
        if silent or not self.set_mac(link, original.mac):
            self.rebind(device)
            device = self.host.pci.wait_netdev(pci, self.conf.device_timeout)
            link = self.host.links.get(device.ifindex)
            if not self.set_mac(link, original.mac):
                raise settings.unsupported(
                    pci, 'mac', original.mac, 'the NIC keeps another'
                )
        if link.name != original.ifname:
            rename.rename(
                self.host.links,
                link,
                original.ifname,
                self.conf.device_timeout,
            )
        if (link.mtu, link.alias) != (original.mtu, original.alias):
            self.host.links.set(
                link.index, mtu=original.mtu, alias=original.alias
            )
        if link.up != original.up:
            self.host.links.set(link.index, up=original.up)

    def _restored_at_once(
        self, link: model.Link, original: model.VfState
    ) -> bool:
        """In one request, if nothing is in the way: before udev names it."""
        if link.up:  # most drivers refuse a MAC then
            return False
        try:
            self.host.links.set(
                link.index,
                mac=original.mac,
                mtu=original.mtu,
                name=original.ifname,
                alias=original.alias,
                up=original.up,
            )
        except exceptions.KernelError:
            return False
        return True

    def set_mac(self, link: model.Link, mac: str) -> bool:
        """Set the VF's own MAC; False where the NIC insists on another."""
        if link.mac == mac:
            return True
        try:
            if link.up:  # most drivers change it only on a closed netdev
                self.host.links.set(link.index, up=False)
            self.host.links.set(link.index, mac=mac)
        except exceptions.KernelError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EPERM):
                raise
            return False
        return True

    def rebind(self, device: model.PciDevice) -> None:
        """Unbind and bind again: the driver starts afresh."""
        self._bind(device.pci, '')
        self._bind(device.pci, device.driver)
