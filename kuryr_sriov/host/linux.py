# SPDX-License-Identifier: Apache-2.0
"""This node: PCI functions by sysfs, interfaces by netlink."""

from __future__ import annotations

import os
import pathlib

from kuryr_sriov.host import links, pci_binding, rdma_netlink


class NodeHost:
    """Implements ``binding.base.Host`` on the running kernel.

    :param root: where the node's ``sys`` and ``proc`` are, as a container
        sees them.
    :param is_guest: the node is a virtual machine that has VFs of its
        hypervisor; None: it is if its processor says that it is virtual.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = '/',
        is_guest: bool | None = None,
    ) -> None:
        self.pci = pci_binding.Sysfs(root)
        self.links = links.Netlink(root)
        self.rdma = rdma_netlink.RdmaDevices()
        self.is_guest = (
            is_virtual(pathlib.Path(root)) if is_guest is None else is_guest
        )
        # Not the time of the boot, which follows every correction of the
        # clock.
        self._boot_id = pathlib.Path(root, 'proc/sys/kernel/random/boot_id')

    def boot_id(self) -> str:
        """The id of this boot; each boot has another (``random(4)``)."""
        return self._boot_id.read_text().strip()


def is_virtual(root: pathlib.Path) -> bool:
    """Whether the node is a virtual machine, as far as its kernel tells.

    By the flag that every hypervisor sets for its guests on x86 (CPUID leaf
    1, ECX bit 31), or by the devicetree's node of that name elsewhere.
    """
    if (root / 'proc/device-tree/hypervisor').exists():
        return True
    try:
        text = (root / 'proc/cpuinfo').read_text(errors='replace')
    except OSError:
        return False
    flags = next((x for x in text.splitlines() if x.startswith('flags')), '')
    return 'hypervisor' in flags.split()
