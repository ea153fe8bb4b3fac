# SPDX-License-Identifier: Apache-2.0
"""The binding drivers keep their contract on hardware.

The suite is the one that the simulated node runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import labnode
import pytest
import xdp
from labnode import Lab, VirtualFunction

from kuryr_sriov import model
from kuryr_sriov.binding import base
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.binding.userspace import VfioDriver
from kuryr_sriov.host.linux import NodeHost
from kuryr_sriov.testing.contracts.binding_contract import (
    BindingDriverContract,
)

NETNS = '/run/netns/contract'


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
    def netns(self) -> Iterator[str]:
        labnode.run('ip', 'netns', 'add', 'contract')
        yield NETNS
        if Path(NETNS).exists():
            labnode.run('ip', 'netns', 'delete', 'contract')

    @pytest.fixture
    def delete_netns(self) -> Callable[[str], None]:
        return lambda path: labnode.Netns('contract').delete()

    @pytest.fixture
    def spoil(self) -> Callable[[model.Attachment], None]:
        def spoil(attachment: model.Attachment) -> None:
            pod = labnode.Netns('contract')
            ifname = attachment.vif.ifname
            altname = 'dev', ifname, 'altname', 'net2'
            pod.run('ip', 'link', 'property', 'add', *altname)
            pod.run('ip', 'link', 'set', ifname, 'arp', 'off')
            pod.run(sys.executable, xdp.__file__, ifname)

        return spoil

    @pytest.fixture
    def driver_override(self) -> Callable[[str], str]:
        def read(pci: str) -> str:
            path = Path('/sys/bus/pci/devices', pci, 'driver_override')
            return path.read_text().strip().replace('(null)', '')

        return read


class TestNetdevice(OnHardware):
    driver_class = NetdeviceDriver


class TestVfio(OnHardware):
    driver_class = VfioDriver
    driver_name = 'vfio-pci'
    kernel = False
