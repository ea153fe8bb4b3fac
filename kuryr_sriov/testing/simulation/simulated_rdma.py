# SPDX-License-Identifier: Apache-2.0
"""The simulated RDMA devices, and their network namespaces.

Follows the kernel's ``drivers/infiniband/core/{device,nldev}.c``. Errors are
OSError, as a process sees them.
"""

from __future__ import annotations

import errno
import itertools

from kuryr_sriov.testing.simulation import hardware, tree


class RdmaDevices:
    """The RDMA devices of all functions. Not locked: the kernel is.

    :ivar exclusive: each is in one network namespace alone.
    """

    def __init__(self, files: tree.Tree) -> None:
        self.exclusive = False
        self._files = files
        self._indexes = itertools.count()
        self._owners: dict[int, hardware.Function] = {}

    def add(self, function: hardware.Function, number: int) -> None:
        """A driver makes it, in the node's own namespace."""
        device = hardware.RdmaDevice(
            next(self._indexes), f'mlx5_{number}', f'uverbs{number}'
        )
        function.rdma = device
        self._owners[device.index] = function
        self._files.show_rdma(function.pci, device)

    def remove(self, function: hardware.Function) -> None:
        """Its driver is unbound, wherever it is."""
        if function.rdma:
            self._files.hide_rdma(function.pci, function.rdma)
            del self._owners[function.rdma.index]
            function.rdma = None

    def list_devices(self, netns: str) -> list[tuple[int, str]]:
        """Index and name of those that are in a namespace."""
        return [
            (device.index, device.name)
            for device in self._all()
            if not self.exclusive or device.netns == netns
        ]

    def pci_of(self, index: int) -> str:
        """Address of the function that has it; empty for none."""
        function = self._owners.get(index)
        return function.pci if function else ''

    def move(self, index: int, netns: str, to: str) -> None:
        """``rdma dev set NAME netns TO``, said in ``netns``."""
        device = self._get(index, netns)
        function = self._owners[index]
        if not (self.exclusive and function.nic.rdma_moves):
            raise OSError(errno.EOPNOTSUPP, device.name)
        self._files.hide_rdma(function.pci, device)
        device.netns = to
        self._files.show_rdma(function.pci, device)

    def rename(self, index: int, name: str) -> None:
        """``rdma dev set``, in any namespace: names are those of all."""
        if index not in self._owners:
            raise OSError(errno.EINVAL, str(index))
        if any(device.name == name for device in self._all()):
            raise OSError(errno.EEXIST, name)
        function = self._owners[index]
        assert function.rdma is not None
        self._files.hide_rdma(function.pci, function.rdma)
        function.rdma.name = name
        self._files.show_rdma(function.pci, function.rdma)

    def leave(self, netns: str) -> None:
        """A namespace goes: what is in it goes home (rdma_dev_exit_net)."""
        for function in self._owners.values():
            device = function.rdma
            if device and device.netns == netns:
                self._files.hide_rdma(function.pci, device)
                device.netns = ''
                self._files.show_rdma(function.pci, device)

    def _all(self) -> list[hardware.RdmaDevice]:
        return [f.rdma for f in self._owners.values() if f.rdma]

    def _get(self, index: int, netns: str) -> hardware.RdmaDevice:
        for device in self._all():
            if device.index == index:
                if self.exclusive and device.netns != netns:
                    break
                return device
        raise OSError(errno.EINVAL, f'RDMA device {index} in {netns!r}')
