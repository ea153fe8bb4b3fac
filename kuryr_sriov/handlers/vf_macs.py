# SPDX-License-Identifier: Apache-2.0
"""The MAC by which a VF of a virtual machine is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kuryr_sriov.binding import base
from kuryr_sriov.handlers import protocols
from kuryr_sriov.host import pci_functions


class VfMacs:
    """The MACs of VFs that have no PF here.

    :param boot_id: of the running boot.
    :param configured: by PCI address, of VFs that nothing else tells it of.
    :param timeout: seconds that a netdev may take to appear.
    """

    def __init__(
        self,
        host: base.Host,
        ledger: protocols.Ledger,
        boot_id: str,
        configured: Mapping[str, str],
        timeout: float,
    ) -> None:
        self._host = host
        self._ledger = ledger
        self._boot_id = boot_id
        self._configured = configured
        self._timeout = timeout

    def find(self, pci: str) -> str:
        """The VF's MAC, as the hypervisor has set it; empty for unknown.

        :raises DeviceMissing: there is no such VF.
        :raises DeviceBusy: its driver has not made its netdev yet.
        """
        # A pod may have changed it since, and the netdev is not at home yet.
        recorded = self._recorded(pci)
        if recorded:
            return recorded
        device = self._host.pci.device(pci)
        if pci_functions.makes_netdev(device.driver):
            self._host.pci.wait_netdev(pci, self._timeout)
        link = self._host.links.find(pci, '')
        return link.mac if link else self._configured.get(pci, '')

    def _recorded(self, pci: str) -> str:
        record = self._ledger.holder(pci)
        if record is None or record.boot_id != self._boot_id:
            # PCI addresses may be those of other functions by now.
            return ''
        if record.vif.provider_network:
            return record.vif.mac
        return record.original.mac


def read_macs(entries: Iterable[str]) -> dict[str, str]:
    """``[sriov] guest_macs``, by PCI address."""
    pairs = (entry.partition('=') for entry in entries)
    return {pci: mac for pci, _, mac in pairs}
