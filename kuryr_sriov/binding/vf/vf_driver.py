# SPDX-License-Identifier: Apache-2.0
"""What all shipped binding drivers share: the PF's control, and the way home.

A VF comes home as the kernel would make it: what a pod can leave on a netdev
is compared with the record, and the cheapest way that restores it is taken.
"""

from __future__ import annotations

import dataclasses
import logging

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base
from kuryr_sriov.binding.vf import control, interfaces, rename, settings
from kuryr_sriov.host import errnos, pci_functions

LOG = logging.getLogger(__name__)


class VfDriver(base.BindingDriver):
    """``snapshot`` and ``disconnect`` for any VF; the PF's part of both.

    Its other methods are help for drivers that build on it.
    """

    def snapshot(self, pci: str) -> model.VfState:
        """The VF's state: driver, netdev, and what its PF holds for it.

        :raises DeviceBusy: its kernel driver has not made the netdev yet.
        """
        device = self.find_vf(pci)
        pf = self.find_pf_control(device)
        held = pf.read() if pf else None
        link = None
        if pci_functions.makes_netdev(device.driver):
            # iavf makes it seconds after it is bound, once the PF answers.
            # An empty record would leave the VF in the pod for ever.
            link = self.wait_for_link(pci)
        state = model.VfState(
            driver=device.driver,
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

        :raises Owed: no way restored it, or a rate waits for the PF's link.
        """
        debt = ''
        failures: list[exceptions.KuryrSriovError] = []
        for bring_home in (
            self._bring_home,
            self._unbind_driver,
            self._reset_function,
        ):
            try:
                fresh = bring_home(attachment)
                debt = self._restore_vf(attachment, fresh)
                break
            except exceptions.DeviceMissing as error:
                LOG.warning('nothing is left to restore: %s', error)
                return
            except exceptions.KuryrSriovError as error:
                LOG.warning('%s is not home yet: %s', attachment.pci, error)
                failures.append(error)
        else:
            self._give_up(attachment, failures)
        if debt:
            raise exceptions.Owed(debt, usable=True)

    def list_drift(self, attachment: model.Attachment) -> list[str]:
        """Differences between what the PF holds and what the VIF asks for."""
        pf = self.find_pf_control(self.host.pci.device(attachment.pci))
        if pf is None:
            return []
        current = pf.read()
        target = settings.wanted(attachment.vif)
        return [
            f'{name} is {getattr(current, name)}, not {getattr(target, name)}'
            for name in settings.list_differing(target, current)
        ]

    def refuse_drift(
        self, attachment: model.Attachment, drift: list[str]
    ) -> None:
        """End a CHECK that has found differences.

        :raises Drifted: naming each of them.
        """
        if drift:
            raise exceptions.Drifted(
                f'{attachment.vif.ifname} of pod {attachment.sandbox.pod} on '
                f'VF {attachment.pci}: {"; ".join(drift)}; delete the pod to '
                'have it attached again'
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
            if link.up:  # most drivers change it only on a closed netdev
                self.host.links.set(link.index, up=False)
            self.host.links.set(link.index, mac=mac)
        except exceptions.KernelError as error:
            # The PF has pinned another MAC, which a new probe of the driver
            # will take.
            if error.errno not in errnos.MAC_REFUSED:
                raise
            return False
        return True

    def _check_guest(self, vif: model.Vif, target: model.VfSettings) -> None:
        guest = dataclasses.replace(settings.GUEST, mac=vif.mac, vlan=vif.vlan)
        for name in settings.list_differing(target, guest):
            raise settings.unsupported(
                vif.ifname,
                name,
                getattr(target, name),
                'this node is a VM, whose hypervisor has the PF; set it there',
            )

    # The three ways home; each returns whether it makes a new netdev.

    def _bring_home(self, attachment: model.Attachment) -> bool:
        """Move the netdev home, if it can be moved."""
        original, pci = attachment.original, attachment.pci
        device = self.host.pci.device(pci)
        if device.driver != original.driver:
            # Before the PF lets it off the pod's VLAN: nobody drives it then.
            self.bind_driver(pci, '')
        if original.ifname and device.driver == original.driver:
            return self._fetch_netdev(attachment, device)
        # A program that was killed while it drove the VF may have left it in
        # any state, also without link (sriov-network-device-plugin#714).
        self.host.pci.reset(pci, self.device_timeout)
        return True

    def _fetch_netdev(
        self, attachment: model.Attachment, device: model.PciDevice
    ) -> bool:
        """Move the netdev to the node's netns, or have it made there again."""
        if device.ifindex:
            return False
        original, netns = attachment.original, attachment.sandbox.netns
        links = self.host.links
        try:
            link = links.find(device.pci, netns)
            if link is not None:
                # If the pod's name for it is taken here, the kernel takes
                # the other one for the move (__dev_change_net_namespace).
                links.set(
                    link.index,
                    netns,
                    to='',
                    mtu=original.mtu,
                    name=original.ifname,
                    alias=original.alias,
                )
                return False
        except (exceptions.KernelError, exceptions.DeviceBusy) as error:
            # The netns is gone, or a name or the MTU is refused: both names
            # are taken, udev was faster, an XDP program forbids it.
            LOG.info('%s: %s', device.pci, error)
            if self.host.pci.device(device.pci).ifindex:
                return False
        # In a netns that nobody can name any more, still probing, or in the
        # way of somebody else here.
        return self._unbind_driver(attachment)

    def _unbind_driver(self, attachment: model.Attachment) -> bool:
        """Unbind it, wherever its netdev is: its driver makes another one."""
        self.bind_driver(attachment.pci, '')
        return True

    def _reset_function(self, attachment: model.Attachment) -> bool:
        """Reset the function itself."""
        self.bind_driver(attachment.pci, '')
        self.host.pci.reset(attachment.pci, self.device_timeout)
        return True

    def _give_up(
        self,
        attachment: model.Attachment,
        failures: list[exceptions.KuryrSriovError],
    ) -> None:
        last = failures[-1]
        if isinstance(last, exceptions.TransientError):
            raise last
        raise exceptions.Owed(
            f'{attachment.pci} could not be restored: {last}; it is not given '
            'to another pod before it is'
        ) from last

    def _restore_vf(self, attachment: model.Attachment, fresh: bool) -> str:
        """Restore PF settings, driver and netdev.

        :param fresh: the driver makes a new netdev.
        :return: what is owed.
        """
        original, pci = attachment.original, attachment.pci
        pf = self.find_pf_control(self.host.pci.device(pci))
        if original.settings is None or pf is None:
            self._restore_driver(attachment, fresh, silent=False)
            return ''
        current = pf.read()
        target = settings.unpin_mac(original, current)
        pf.restore(target, current)
        # Where the VF has told its MAC, the PF has forgotten it by now.
        told = original.mac == original.settings.mac and not original.pinned
        self._restore_driver(
            attachment, fresh, silent=told and target != original.settings
        )
        # By now the PF may show what the VF has told it, if it ever does.
        return pf.restore(original.settings, pf.read())

    def _restore_driver(
        self, attachment: model.Attachment, fresh: bool, silent: bool
    ) -> None:
        """Restore its driver, and all that the netdev had.

        :param silent: the PF does not know the VF's own MAC any more, and
            setting the one it has would be no change to the kernel.
        """
        original, pci = attachment.original, attachment.pci
        # Also to the driver it has: a crash may have left driver_override.
        self.bind_driver(pci, original.driver)
        if not original.ifname:
            return
        link = self.wait_for_link(pci)
        left = () if fresh else list_leftovers(link, original)
        if left:
            LOG.info(
                '%s gets a new netdev because of %s', pci, ', '.join(left)
            )
            link = self._make_anew(pci)
        self._remove_altnames(link, original)
        silent = silent and link.mac == original.mac
        if not silent and self._restored_at_once(link, original):
            return
        link = self.wait_for_link(pci)
        if silent or not self.set_mac(link, original.mac):
            link = self._make_anew(pci)
            if not self.set_mac(link, original.mac):
                raise settings.unsupported(
                    pci, 'mac', original.mac, 'the NIC keeps another'
                )
        self._restore_one_by_one(link, original)

    def _make_anew(self, pci: str) -> model.Link:
        self.rebind(self.host.pci.device(pci))
        return self.wait_for_link(pci)

    def _remove_altnames(
        self, link: model.Link, original: model.VfState
    ) -> None:
        """Remove those that the pod gave it; the others are udev's.

        udev gives it its own names again, and may make the name that it is
        to have an alternative one for a moment.
        """
        ours = {*original.altnames, original.ifname}
        for name in sorted(set(link.altnames) - ours):
            self.host.links.remove_altname(link.index, name)

    def _restored_at_once(
        self, link: model.Link, original: model.VfState
    ) -> bool:
        """Restore it in one request, before udev names it, if that works."""
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
        except (exceptions.KernelError, exceptions.DeviceBusy):
            return False
        return True

    def _restore_one_by_one(
        self, link: model.Link, original: model.VfState
    ) -> None:
        if link.name != original.ifname:
            rename.rename_link(
                self.host.links, link, original.ifname, self.device_timeout
            )
        if (link.mtu, link.alias) != (original.mtu, original.alias):
            self.host.links.set(
                link.index, mtu=original.mtu, alias=original.alias
            )
        if link.up != original.up:
            self.host.links.set(link.index, up=original.up)


def list_leftovers(link: model.Link, original: model.VfState) -> list[str]:
    """Names of what somebody has left on a netdev that no request restores.

    Nothing for a record of a release that did not record traits.
    """
    if not original.traits:
        return []
    differing = set(link.traits) ^ set(original.traits)
    return sorted({trait.partition('=')[0] for trait in differing})
