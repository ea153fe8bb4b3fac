# SPDX-License-Identifier: Apache-2.0
"""What the suite of binding drivers runs on: fixtures to override."""

from __future__ import annotations

import dataclasses
import errno
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kuryr_sriov import model
from kuryr_sriov.binding import base
from kuryr_sriov.testing.node import (
    FunctionState,
    Iommu,
    Pf,
    SimulatedNode,
    Vf,
)

Meddle = Callable[[model.Attachment], str]


class NodeFixtures:
    """A node, a VF of it, and a pod's network namespace.

    On hardware these have to be overridden: ``host``, ``pci``, ``netns``,
    ``delete_netns`` and ``driver_override``.

    :cvar driver_class: the class under test.
    :cvar driver_name: entry-point name that it is chosen by.
    :cvar kernel: whether the pod gets a kernel interface.
    """

    driver_class: ClassVar[type[base.BindingDriver]]
    driver_name: ClassVar[str] = 'netdevice'
    kernel: ClassVar[bool] = True

    @pytest.fixture
    def conf(self) -> Any:
        """The driver's section of kuryr.conf."""
        return types.SimpleNamespace(device_timeout=5.0)

    @pytest.fixture
    def host(self) -> base.Host:
        """The node."""
        raise NotImplementedError('override the fixture host')

    @pytest.fixture
    def pci(self) -> str:
        """A VF that nobody uses."""
        raise NotImplementedError('override the fixture pci')

    @pytest.fixture
    def netns(self) -> Iterator[str] | str:
        """Path of a network namespace of its own."""
        raise NotImplementedError('override the fixture netns')

    @pytest.fixture
    def delete_netns(self) -> Callable[[str], None]:
        """Deletes a network namespace."""
        raise NotImplementedError('override the fixture delete_netns')

    @pytest.fixture
    def driver_override(self) -> Callable[[str], str]:
        """Reads a VF's ``driver_override``."""
        raise NotImplementedError('override the fixture driver_override')

    @pytest.fixture
    def vif(self) -> model.Vif:
        """A VIF that the NIC can provide."""
        return model.Vif(
            id='3f1c1d2e-0000-4000-8000-000000000001',
            ifname='net1',
            network='default/sriov-net1',
            resource='intel.com/physnet22',
            physnet='physnet22',
            mac='fa:16:3e:aa:bb:01',
            addresses=('192.168.2.7/24', 'fd00:2::7/64'),
            gateways=('192.168.2.1',),
            routes=(model.Route('10.9.0.0/16', '192.168.2.254'),),
            vlan=3501,
            mtu=1450,
        )

    @pytest.fixture
    def refused(self) -> dict[str, Any]:
        """Fields of a VIF that this NIC refuses, one setting."""
        return {'min_tx_rate': 100}

    @pytest.fixture
    def meddle(self, host: base.Host, vif: model.Vif) -> Meddle:
        """Changes the VF as somebody else would; what ``check`` will say.

        By default the VLAN, which needs a PF on this node.
        """

        def change_vlan(attachment: model.Attachment) -> str:
            device = host.pci.device(attachment.pci)
            assert device.vf_index is not None
            host.links.set_vf(
                host.pci.device(device.pf).ifindex,
                device.vf_index,
                model.VfSettings(vlan=99, vlan_qos=0, vlan_proto='802.1q'),
            )
            return f'vlan is 99, not {vif.vlan}'

        return change_vlan

    @pytest.fixture
    def driver(self, host: base.Host, conf: Any) -> base.BindingDriver:
        """The driver under test."""
        return self.make(host, conf)

    @pytest.fixture
    def attachment(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        pci: str,
        netns: str,
        vif: model.Vif,
    ) -> model.Attachment:
        """The record that the ledger has before ``connect``."""
        return model.Attachment(
            sandbox=model.Sandbox(
                'c0ffee', netns, model.Pod('default', 'nginx', 'uid-1')
            ),
            vif=vif,
            pci=pci,
            driver=self.driver_name,
            pf=host.pci.device(pci).pf,
            original=driver.snapshot(pci),
        )

    def make(self, host: Any, conf: Any) -> base.BindingDriver:
        """The driver on some host."""
        return self.driver_class(self.driver_name, host, conf)

    def interface(
        self, host: base.Host, attachment: model.Attachment
    ) -> model.Link | None:
        """The VF's interface in the sandbox."""
        return host.links.find(attachment.pci, attachment.sandbox.netns)

    def settings(self, host: base.Host, pci: str) -> model.VfSettings | None:
        """What the PF holds for the VF; None where it is out of reach."""
        device = host.pci.device(pci)
        if device.vf_index is None:
            return None
        pf = host.pci.device(device.pf)
        return host.links.vf(pf.ifindex, device.vf_index)

    def shown(
        self, host: base.Host, pci: str
    ) -> tuple[model.PciDevice, model.Link | None, model.VfSettings | None]:
        """All that the node shows of a VF that is at home."""
        device = host.pci.device(pci)
        link = host.links.get(device.ifindex) if device.ifindex else None
        return device, link, self.settings(host, pci)


class SimulatedNodeFixtures(NodeFixtures):
    """A simulated node: nothing has to be overridden.

    :cvar functions: its NICs; the first one's first VF is used.
    :cvar kernel_drivers: PCI drivers loaded besides those of the NICs.
    """

    functions: ClassVar[tuple[Pf | Vf, ...]] = (
        Pf('0000:02:00.0', 'ens6', vfs=2),
    )
    kernel_drivers: ClassVar[tuple[str, ...]] = 'vfio-pci', 'uio_pci_generic'
    iommu: ClassVar[Iommu] = 'on'

    @pytest.fixture
    def node(self, tmp_path: Path) -> Iterator[SimulatedNode]:
        """The node, to make trouble on."""
        node = SimulatedNode(
            tmp_path / 'node',
            self.functions,
            drivers=self.kernel_drivers,
            iommu=self.iommu,
        )
        yield node
        node.close()

    @pytest.fixture
    def host(self, node: SimulatedNode) -> base.Host:
        """The node, as the driver sees it."""
        return node.host

    @pytest.fixture
    def pci(self, node: SimulatedNode) -> str:
        """The first VF."""
        first = self.functions[0]
        return node.vfs(first.pci)[0] if isinstance(first, Pf) else first.pci

    @pytest.fixture
    def netns(self, node: SimulatedNode) -> str:
        """The pod's."""
        return node.add_netns('/run/netns/pod')

    @pytest.fixture
    def delete_netns(self, node: SimulatedNode) -> Callable[[str], None]:
        """As the kernel does, when nobody is in it any more."""
        return node.delete_netns

    @pytest.fixture
    def driver_override(self, node: SimulatedNode) -> Callable[[str], str]:
        """From the kernel's side."""
        return lambda pci: node.state()[pci].driver_override

    @pytest.fixture
    def refused(self, node: SimulatedNode) -> dict[str, Any]:
        """A minimum rate, which most NICs cannot keep."""
        node.refuse(self.functions[0].pci, {'min_tx_rate': errno.EINVAL})
        return {'min_tx_rate': 100}

    @pytest.fixture(autouse=True)
    def exactly_as_before(
        self, node: SimulatedNode, request: pytest.FixtureRequest
    ) -> Iterator[None]:
        """After each test, ``disconnect`` leaves a node without a trace.

        It is seen from the kernel's side: a snapshot that leaves something
        out would not miss it.
        """
        if 'attachment' not in request.fixturenames:
            yield
            return
        before = _visible(node)
        attachment = request.getfixturevalue('attachment')
        driver = request.getfixturevalue('driver')
        yield
        driver.disconnect(attachment)
        assert _visible(node) == before


def _visible(node: SimulatedNode) -> dict[str, FunctionState]:
    """The node's state, but for what no request to a kernel tells.

    Whether the PF has set the MAC it shows, or the VF has, shows only when
    the VF's netdev has another one.
    """
    return {
        pci: dataclasses.replace(
            state, pinned=bool(state.link and state.pinned)
        )
        for pci, state in node.state().items()
    }
