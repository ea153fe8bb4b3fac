# SPDX-License-Identifier: Apache-2.0
"""The binding drivers keep their contract on hardware.

The suite is the one that the simulated node runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import labnode
import pytest
from labnode import Lab, Netns, VirtualFunction

from kuryr_sriov.binding import base
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.binding.userspace import VfioDriver
from kuryr_sriov.host.node import NodeHost
from kuryr_sriov.testing.binding import BindingDriverContract


class OnHardware(BindingDriverContract):
    """The fixtures of an emulated 82576 (igb, igbvf)."""

    @pytest.fixture
    def host(self) -> base.Host:
        return NodeHost()

    @pytest.fixture
    def vf(
        self, lab: Lab, make_vfs: Callable[..., list[VirtualFunction]]
    ) -> VirtualFunction:
        return make_vfs(lab.pfs[0], 2)[0]

    @pytest.fixture
    def pci(self, vf: VirtualFunction) -> str:
        return vf.pci

    @pytest.fixture
    def pod(self, make_netns: Callable[[], Netns]) -> Netns:
        return make_netns()

    @pytest.fixture
    def netns(self, pod: Netns) -> str:  # type: ignore[override]
        return f'/run/netns/{pod.name}'

    @pytest.fixture
    def delete_netns(self, pod: Netns) -> Callable[[str], None]:
        def delete(path: str) -> None:
            labnode.run('ip', 'netns', 'delete', pod.name)
            labnode.wait_for(
                f'{path} to go', lambda: not Path(path).exists()
            )
            labnode.run('ip', 'netns', 'add', pod.name)
            labnode.run('ip', 'netns', 'delete', pod.name)

        return delete

    @pytest.fixture
    def driver_override(self) -> Callable[[str], str]:
        def read(pci: str) -> str:
            path = Path('/sys/bus/pci/devices', pci, 'driver_override')
            return path.read_text().strip().replace('(null)', '')

        return read


class TestNetdevice(OnHardware):
    driver_class = NetdeviceDriver


class TestIgbvf(OnHardware):
    driver_class = NetdeviceDriver
    driver_name = 'igbvf'


class TestVfio(OnHardware):
    driver_class = VfioDriver
    driver_name = 'vfio-pci'
    kernel = False
