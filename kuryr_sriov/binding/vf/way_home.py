# SPDX-License-Identifier: Apache-2.0
"""The way home of a VF: from a pod to what its record says.

A VF comes home as the kernel would make it: what a pod can leave on a netdev
is compared with the record, and the cheapest way that restores it is taken.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.vf import rdma_device, restore_netdev, settings

if TYPE_CHECKING:
    from kuryr_sriov.binding.vf.vf_driver import VfDriver

LOG = logging.getLogger(__name__)


class WayHome:
    """Restores the VF of one attachment, wherever it is.

    :param driver: whose help it uses; the lock of the PF is held.
    """

    def __init__(self, driver: VfDriver, attachment: model.Attachment) -> None:
        self._driver = driver
        self._host = driver.host
        self._attachment = attachment
        self._original = attachment.original
        self._pci = attachment.pci
        # Whether a program may have driven it, and it was not reset since.
        self._was_driven = False

    def restore(self) -> None:
        """Try the three ways in turn, until one restores it.

        :raises Owed: no way restored it, or a rate waits for the PF's link,
            or the name for whoever has it.
        """
        debt = ''
        failures: list[exceptions.KuryrSriovError] = []
        for bring_home in (
            self._bring_home,
            self._unbind_driver,
            self._reset_function,
        ):
            try:
                fresh = bring_home()
                debt = self._restore_vf(fresh)
                if not fresh:
                    self._bring_rdma_home()
                self._restore_override()
                break
            except exceptions.DeviceMissing as error:
                LOG.warning('nothing is left to restore: %s', error)
                return
            except exceptions.KuryrSriovError as error:
                LOG.warning('%s is not home yet: %s', self._pci, error)
                failures.append(error)
        else:
            self._give_up(failures)
        if debt:
            raise exceptions.Owed(debt, usable=True)

    # The three ways home; each returns whether it makes a new netdev.

    def _bring_home(self) -> bool:
        """Move the netdev home, if it can be moved."""
        original, pci = self._original, self._pci
        device = self._host.pci.device(pci)
        self._was_driven = not (
            original.ifname and device.driver == original.driver
        )
        if device.driver != original.driver:
            # Before the PF lets it off the pod's VLAN: nobody drives it then.
            self._driver.bind_driver(pci, '')
        if not self._was_driven:
            return self._fetch_netdev(device)
        self._reset_after_program()
        return True

    def _fetch_netdev(self, device: model.PciDevice) -> bool:
        """Move the netdev to the node's netns, or have it made there again."""
        if device.ifindex:
            return False
        original, netns = self._original, self._attachment.sandbox.netns
        links = self._host.links
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
            if self._host.pci.ifindex(device.pci):
                return False
        # In a netns that nobody can name any more, still probing, or in the
        # way of somebody else here.
        return self._unbind_driver()

    def _unbind_driver(self) -> bool:
        """Unbind it, wherever its netdev is: its driver makes another one."""
        self._driver.bind_driver(self._pci, '')
        if self._was_driven:
            # The first way failed before it came to this, as it does where a
            # program was slow to let the VF go.
            self._reset_after_program()
        return True

    def _reset_after_program(self) -> None:
        """Have nothing left of a program that was killed while it drove it.

        That may be any state, also one without link
        (sriov-network-device-plugin#714).
        """
        self._host.pci.reset(self._pci, self._driver.device_timeout)
        self._was_driven = False

    def _reset_function(self) -> bool:
        """Reset the function itself."""
        self._driver.bind_driver(self._pci, '')
        self._host.pci.reset(self._pci, self._driver.device_timeout)
        return True

    def _give_up(self, failures: list[exceptions.KuryrSriovError]) -> None:
        last = failures[-1]
        if isinstance(last, exceptions.TransientError):
            raise last
        raise exceptions.Owed(
            f'{self._pci} could not be restored: {last}; it is not given '
            'to another pod before it is'
        ) from last

    def _restore_vf(self, fresh: bool) -> str:
        """Restore PF settings, driver and netdev.

        :param fresh: the driver makes a new netdev.
        :return: what is owed.
        """
        original, pci = self._original, self._pci
        pf = self._driver.find_pf_control(self._host.pci.identify(pci))
        if original.settings is None or pf is None:
            return self._restore_driver(fresh, silent=False)
        current = pf.read()
        target = settings.unpin_mac(original, current)
        # What it accepts is read back at the end, with all the rest.
        if pf.send(target, current) is not None:
            pf.restore(target, pf.read())
        # Where the VF has told its MAC, the PF has forgotten it by now.
        told = original.mac == original.settings.mac and not original.pinned
        name = self._restore_driver(
            fresh, silent=told and target != original.settings
        )
        # By now the PF may show what the VF has told it, if it ever does.
        rate = pf.restore(original.settings, pf.read())
        return '; '.join(filter(None, (name, rate)))

    def _restore_driver(self, fresh: bool, silent: bool) -> str:
        """Restore its driver, and all that the netdev had.

        :param silent: the PF does not know the VF's own MAC any more, and
            setting the one it has would be no change to the kernel.
        :return: what is owed.
        """
        original, pci = self._original, self._pci
        # Also to the driver it has: a crash may have left driver_override.
        self._driver.bind_driver(pci, original.driver)
        if not original.ifname:
            return ''
        link = self._driver.wait_for_link(pci)
        left = () if fresh else restore_netdev.list_leftovers(link, original)
        if left:
            LOG.info(
                '%s gets a new netdev because of %s', pci, ', '.join(left)
            )
            link = self._make_netdev()
        links = self._host.links
        restore_netdev.remove_altnames(links, link, original)
        silent = silent and link.mac == original.mac
        if not silent and restore_netdev.restored_at_once(
            links, link, original
        ):
            return ''
        link = self._driver.wait_for_link(pci)
        if silent or not self._driver.set_mac(link, original.mac):
            link = self._make_netdev()
            if not self._driver.set_mac(link, original.mac):
                raise settings.unsupported(
                    pci, 'mac', original.mac, 'the NIC keeps another'
                )
        return restore_netdev.restore_one_by_one(
            links, link, original, self._driver.device_timeout
        )

    def _restore_override(self) -> None:
        """Pin it to the driver that the operator has pinned it to.

        Last, because whatever binds it to a driver clears that.
        """
        if self._original.override:
            self._host.pci.set_override(
                self._pci, self._original.override, self._driver.device_timeout
            )

    def _bring_rdma_home(self) -> None:
        """Bring its RDMA device; a driver that was bound makes another."""
        rdma_device.bring_home(
            self._host, self._attachment, self._driver.device_timeout
        )

    def _make_netdev(self) -> model.Link:
        self._driver.rebind(self._host.pci.device(self._pci))
        return self._driver.wait_for_link(self._pci)
