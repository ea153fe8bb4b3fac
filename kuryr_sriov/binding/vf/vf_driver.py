# SPDX-License-Identifier: Apache-2.0
"""What all shipped binding drivers share."""

from __future__ import annotations

import contextlib
import dataclasses

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base
from kuryr_sriov.binding.vf import control, interfaces, settings, way_home
from kuryr_sriov.host import errnos, pci_functions


class VfDriver(base.BindingDriver):
    """``snapshot`` and ``disconnect`` for any VF; the PF's part of both.

    Its other methods are help for drivers that build on it.
    """

    def snapshot(self, pci: str) -> model.VfState:
        """The VF's state: driver, netdev, and what its PF holds for it.

        :raises DeviceBusy: its kernel driver has not made the netdev yet.
        """
        device = self.find_vf(pci)
        link = None
        if device.ifindex:
            link = interfaces.get_link(self.host, device)
        elif pci_functions.makes_netdev(device.driver):
            # iavf makes it seconds after it is bound, once the PF answers.
            # An empty record would leave the VF in the pod for ever.
            link = self.wait_for_link(pci)
        pf = self.find_pf_control(device)
        held = pf.read() if pf else None
        state = model.VfState(
            driver=device.driver,
            rdma_device=device.rdma_device,
            override=self.host.pci.get_override(pci, self.device_timeout),
            settings=held,
            pinned=held is not None
            and settings.is_pinned(
                held, link, self.host.pci.has_assigned_mac(pci)
            ),
        )
        if link is None:
            return state
        return dataclasses.replace(
            state,
            ifname=link.name,
            mac=link.mac,
            mtu=link.mtu,
            alias=link.alias,
            up=link.up,
            altnames=link.altnames,
            traits=link.traits,
        )

    def configure_pf(
        self, device: model.PciDevice, attachment: model.Attachment
    ) -> None:
        """Have the PF hold what the VIF asks for, and read it back."""
        target = settings.wanted(attachment.vif)
        current = attachment.original.settings
        pf = self.find_pf_control(device)
        if pf is None or current is None:
            self._check_guest(attachment.vif, target)
        else:
            pf.set(target, current)

    def disconnect(self, attachment: model.Attachment) -> None:
        """Restore driver, PF settings and netdev, wherever the VF is.

        Three ways are tried in turn: the netdev is moved home, its driver is
        rebound, the function is reset.

        :raises Owed: no way restored it, or a rate waits for the PF's link,
            or the name for whoever has it.
        """
        way_home.WayHome(self, attachment).restore()

    def change_settings(
        self, attachment: model.Attachment, vif: model.Vif
    ) -> None:
        """By the PF alone: the VF may be in a netns, or a program's."""
        pf = self.find_pf_control(self.host.pci.identify(attachment.pci))
        original = attachment.original.settings
        if pf is None or original is None:
            raise settings.unsupported(
                vif.ifname,
                'driver',
                self.name,
                'the PF of this VF is out of reach; change it there',
            )
        target = settings.wanted_while_running(vif, original)
        before = pf.read()
        try:
            pf.set(target, before)
        except exceptions.KuryrSriovError:
            # The kernel stops at the first that the NIC refuses. What it had
            # set by then goes, as far as that can be done; the record tells.
            with contextlib.suppress(exceptions.KuryrSriovError):
                pf.restore(settings.only_changeable(before), pf.read())
            raise

    def list_drift(self, attachment: model.Attachment) -> list[str]:
        """Differences between what the PF holds and what the VIF asks for."""
        pf = self.find_pf_control(self.host.pci.identify(attachment.pci))
        if pf is None:
            return []
        current = pf.read()
        target = settings.wanted(attachment.vif)
        return [
            f'{name} is {getattr(current, name)}, not {getattr(target, name)}'
            for name in settings.list_drifting(attachment, current)
        ]

    def refuse_drift(
        self, attachment: model.Attachment, drift: list[str]
    ) -> None:
        """End a CHECK that has found differences.

        :param drift: each begins with the name of what differs.
        :raises Drifted: naming each of them.
        """
        if drift:
            names = {each.partition(' ')[0] for each in drift}
            raise exceptions.Drifted(
                f'{attachment.vif.ifname} of pod {attachment.sandbox.pod} on '
                f'VF {attachment.pci}: {"; ".join(drift)}; delete the pod to '
                'have it attached again',
                may_settle=names <= set(model.CHANGEABLE),
            )

    def bind_driver(self, pci: str, driver: str | None) -> None:
        """Bind the VF to ``driver``; see ``base.Pci.bind``."""
        self.host.pci.bind(pci, driver, self.device_timeout)

    def rebind(self, device: model.PciDevice) -> None:
        """Unbind and bind again, so that the driver makes a new netdev."""
        self.bind_driver(device.pci, '')
        self.bind_driver(device.pci, device.driver)

    def find_vf(self, pci: str) -> model.PciDevice:
        """The function, if it is a VF.

        :raises DeviceMissing: it is none.
        """
        device = self.host.pci.device(pci)
        if device.total_vfs:
            raise exceptions.DeviceMissing(
                f'{pci} is a PF, not a VF: giving it to a pod would take its '
                'VFs from others; correct the selectors of the device plugin'
            )
        if not device.pf and not self.host.is_guest:
            raise exceptions.DeviceMissing(
                f'{pci} is not a VF: it has no PF, and this node is no '
                'virtual machine, which would have the VFs of its '
                'hypervisor; correct the selectors of the device plugin'
            )
        return device

    def find_pf_control(
        self, device: model.PciDevice
    ) -> control.PfControl | None:
        """The PF's control of the VF; None where the PF is out of reach."""
        if device.vf_index is None:
            return None
        return control.PfControl(self.host, device, self.device_timeout)

    def wait_for_link(self, pci: str) -> model.Link:
        """The VF's netdev, once it is in the node's own netns."""
        device = self.host.pci.wait_netdev(pci, self.device_timeout)
        return interfaces.get_link(self.host, device)

    def set_mac(self, link: model.Link, mac: str) -> bool:
        """Set the VF's own MAC; False where the NIC insists on another."""
        if link.mac == mac:
            return True
        try:
            if link.up:  # ionic and txgbevf change it on a closed netdev only
                self.host.links.set(link.index, up=False)
            self.host.links.set(link.index, mac=mac)
        except exceptions.KernelError as error:
            # The PF has pinned another MAC, which a new probe of the driver
            # will take.
            if error.errno not in errnos.MAC_REFUSED:
                raise
            return False
        return True

    def refuse_other_port(self, link: model.Link, vif: model.Vif) -> None:
        """Refuse a VF that is not the port that it was taken for.

        The MAC of a port that was there before the pod is never set: Neutron's
        agent takes a port down whose VF has another one.

        :raises UnsupportedSetting: the VF has another MAC than the port.
        """
        if vif.provider_network and link.mac != vif.mac:
            raise settings.unsupported(
                vif.ifname,
                'mac',
                vif.mac,
                f'VF {link.pci or link.name} has {link.mac}, so it is not '
                f'port {vif.id}; correct [sriov] guest_macs, or reboot the '
                'node if a program has changed the MAC',
            )

    def _check_guest(self, vif: model.Vif, target: model.VfSettings) -> None:
        guest = dataclasses.replace(settings.GUEST, mac=vif.mac, vlan=vif.vlan)
        for name in settings.list_differing(target, guest):
            raise settings.unsupported(
                vif.ifname,
                name,
                getattr(target, name),
                'this node is a VM, whose hypervisor has the PF; set it there',
            )
