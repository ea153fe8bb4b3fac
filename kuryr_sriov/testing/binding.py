# SPDX-License-Identifier: Apache-2.0
"""The contract suite of binding drivers.

Subclass ``BindingDriverContract`` in a pytest module, override the fixtures
that say what your driver is and where it runs, and pytest runs the suite::

    class TestMyDriver(BindingDriverContract):
        driver_class = MyDriver

        @pytest.fixture
        def host(self, node):
            return node

The same suite runs on the simulated node and on real hardware.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base
from kuryr_sriov.testing.interrupt import InterruptedHost, Killed


class BindingDriverContract:
    """What every binding driver has to do, and why.

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
        """The node; override it."""
        raise NotImplementedError('override the fixture host')

    @pytest.fixture
    def pci(self) -> str:
        """A VF that nobody uses; override it."""
        raise NotImplementedError('override the fixture pci')

    @pytest.fixture
    def netns(self) -> Iterator[str]:
        """Path of a network namespace of its own; override it."""
        raise NotImplementedError('override the fixture netns')

    @pytest.fixture
    def delete_netns(self) -> Callable[[str], None]:
        """Deletes a network namespace; override it."""
        raise NotImplementedError('override the fixture delete_netns')

    @pytest.fixture
    def driver_override(self) -> Callable[[str], str]:
        """Reads a VF's ``driver_override``; override it."""
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

    def test_a_snapshot_changes_nothing(
        self, driver: base.BindingDriver, pci: str
    ) -> None:
        """The record of the original is only worth what it saw first."""
        assert driver.snapshot(pci) == driver.snapshot(pci)

    def test_the_pf_holds_mac_and_vlan_of_the_port(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
    ) -> None:
        """A VF on no VLAN, or another's, reaches another tenant."""
        driver.connect(attachment)
        held = driver.snapshot(attachment.pci).settings
        if attachment.original.settings is None:
            assert held is None
        else:
            assert held is not None
            assert held.mac == attachment.vif.mac
            assert held.vlan == attachment.vif.vlan

    def test_the_pod_has_the_interface_of_its_vif(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
    ) -> None:
        """Name, MAC, MTU, addresses and routes, or none in userspace."""
        vif, netns = attachment.vif, attachment.sandbox.netns
        driver.connect(attachment)
        link = self.interface(host, attachment)
        if not self.kernel:
            assert link is None
            return
        assert link is not None
        assert (link.name, link.mac) == (vif.ifname, vif.mac)
        assert (link.mtu, link.up) == (vif.mtu, True)
        assert set(host.links.addresses(link.index, netns)) == set(
            vif.addresses
        )
        routes = set(host.links.routes(link.index, netns))
        assert routes == {
            *vif.routes,
            model.Route('0.0.0.0/0', vif.gateways[0]),
        }

    def test_disconnect_restores_the_original(
        self, driver: base.BindingDriver, attachment: model.Attachment
    ) -> None:
        """The next pod must not inherit VLAN, MAC, MTU, name or driver."""
        driver.connect(attachment)
        driver.disconnect(attachment)
        assert driver.snapshot(attachment.pci) == attachment.original

    def test_disconnect_may_be_repeated(
        self, driver: base.BindingDriver, attachment: model.Attachment
    ) -> None:
        """Runtimes repeat DEL until it succeeds, and after."""
        driver.connect(attachment)
        driver.disconnect(attachment)
        driver.disconnect(attachment)
        assert driver.snapshot(attachment.pci) == attachment.original

    def test_disconnect_needs_no_connect(
        self, driver: base.BindingDriver, attachment: model.Attachment
    ) -> None:
        """The crash may have come right after the record was written."""
        driver.disconnect(attachment)
        assert driver.snapshot(attachment.pci) == attachment.original

    def test_disconnect_works_when_the_netns_is_gone(
        self,
        driver: base.BindingDriver,
        attachment: model.Attachment,
        delete_netns: Callable[[str], None],
    ) -> None:
        """The VF comes home with the pod's name; it must not keep it."""
        driver.connect(attachment)
        delete_netns(attachment.sandbox.netns)
        driver.disconnect(attachment)
        assert driver.snapshot(attachment.pci) == attachment.original

    def test_disconnect_works_when_the_driver_was_unbound(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
        conf: Any,
    ) -> None:
        """An operator's hand, or another tool, may have been faster."""
        driver.connect(attachment)
        host.pci.bind(attachment.pci, '', conf.device_timeout)
        driver.disconnect(attachment)
        assert driver.snapshot(attachment.pci) == attachment.original

    def test_disconnect_of_a_vf_that_is_no_more_succeeds(
        self, driver: base.BindingDriver, attachment: model.Attachment
    ) -> None:
        """sriov_numvfs was lowered: DEL must still end."""
        driver.disconnect(dataclasses.replace(attachment, pci='0000:7f:1f.7'))

    def test_the_vf_can_be_used_again(
        self, driver: base.BindingDriver, attachment: model.Attachment
    ) -> None:
        """A VF that works once per boot is a VF lost."""
        for _ in range(2):
            driver.connect(attachment)
            driver.check(attachment)
            driver.disconnect(attachment)
        assert driver.snapshot(attachment.pci) == attachment.original

    def test_driver_override_is_never_left_behind(
        self,
        driver: base.BindingDriver,
        attachment: model.Attachment,
        driver_override: Callable[[str], str],
    ) -> None:
        """It would pin the VF to a driver until the next boot."""
        driver.connect(attachment)
        assert driver_override(attachment.pci) == ''
        driver.disconnect(attachment)
        assert driver_override(attachment.pci) == ''

    def test_check_accepts_what_connect_made(
        self, driver: base.BindingDriver, attachment: model.Attachment
    ) -> None:
        """CNI CHECK must not restart healthy pods."""
        driver.connect(attachment)
        driver.check(attachment)

    def test_check_sees_another_vlan(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
    ) -> None:
        """Somebody else's ``ip link set vf`` moves the pod to a tenant."""
        if attachment.original.settings is None:
            pytest.skip('the hypervisor has the VLAN')
        driver.connect(attachment)
        device = host.pci.device(attachment.pci)
        assert device.vf_index is not None
        host.links.set_vf(
            host.pci.device(device.pf).ifindex,
            device.vf_index,
            model.VfSettings(vlan=99, vlan_qos=0, vlan_proto='802.1q'),
        )
        with pytest.raises(exceptions.Drifted, match='vlan is 99, not 3501'):
            driver.check(attachment)

    def test_a_refused_setting_is_named_and_nothing_stays(
        self,
        driver: base.BindingDriver,
        attachment: model.Attachment,
        refused: dict[str, Any],
    ) -> None:
        """Half a configuration is worse than none."""
        (setting,) = refused
        vif = dataclasses.replace(attachment.vif, **refused)
        attachment = dataclasses.replace(attachment, vif=vif)
        with pytest.raises(exceptions.UnsupportedSetting) as raised:
            driver.connect(attachment)
        assert raised.value.setting == setting
        assert setting in str(raised.value)
        driver.disconnect(attachment)
        assert driver.snapshot(attachment.pci) == attachment.original

    def test_device_info_names_the_vf_and_its_pf(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
    ) -> None:
        """DPDK programs find their device by it."""
        driver.connect(attachment)
        info = driver.device_info(attachment)
        assert (info.pci, info.pf_pci) == (attachment.pci, attachment.pf)
        if not self.kernel:
            assert all(node.startswith('/dev/') for node in info.device_nodes)
            assert info.device_nodes

    def test_a_kill_at_any_change_of_connect_can_be_undone(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
        conf: Any,
    ) -> None:
        """A crash leaves a record; the record must be enough."""
        allowed, completed = 0, False
        while not completed:
            interrupted = InterruptedHost(host, allowed)
            try:
                self.make(interrupted, conf).connect(attachment)
                completed = True
            except Killed:
                allowed += 1
            driver.disconnect(attachment)
            assert driver.snapshot(attachment.pci) == attachment.original
        assert allowed > 0

    def test_a_kill_at_any_change_of_disconnect_can_be_resumed(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
        conf: Any,
    ) -> None:
        """The DEL after the crash finds a VF half-way home."""
        allowed, completed = 0, False
        while not completed:
            driver.connect(attachment)
            interrupted = InterruptedHost(host, allowed)
            try:
                self.make(interrupted, conf).disconnect(attachment)
                completed = True
            except Killed:
                allowed += 1
                driver.disconnect(attachment)
            assert driver.snapshot(attachment.pci) == attachment.original
        assert allowed > 0
