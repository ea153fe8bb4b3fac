# SPDX-License-Identifier: Apache-2.0
"""This node: PCI functions by sysfs, interfaces by netlink."""

from __future__ import annotations

import os
import pathlib

from kuryr_sriov.host import links, pci_binding


class NodeHost:
    """Implements ``binding.base.Host`` on the running kernel.

    :param root: where the node's ``sys`` and ``proc`` are, as a container
        sees them.
    """

    def __init__(self, root: str | os.PathLike[str] = '/') -> None:
        self.pci = pci_binding.Sysfs(root)
        self.links = links.Netlink(root)
        self._boot_id = pathlib.Path(root, 'proc/sys/kernel/random/boot_id')

    def boot_id(self) -> str:
        """Names this boot: another after each (``random(4)``)."""
        return self._boot_id.read_text().strip()
