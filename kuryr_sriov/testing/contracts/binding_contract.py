# SPDX-License-Identifier: Apache-2.0
"""The contract suite of binding drivers.

Subclass ``SimulatedBindingContract`` in a pytest module, and pytest runs the
suite on a simulated node::

    class TestMyDriver(SimulatedBindingContract):
        driver_class = MyDriver
        driver_name = 'my_driver'

Subclass ``BindingDriverContract`` and override the fixtures that say what
the node is, and the same suite runs on your hardware. The fixtures are those
of ``nodes.NodeFixtures``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.binding import base
from kuryr_sriov.testing.fixtures.interruption import InterruptedHost, Killed
from kuryr_sriov.testing.fixtures.node_fixtures import (
    Meddle,
    NodeFixtures,
    SimulatedNodeFixtures,
)

NO_VF = '0000:7f:1f.7'


class BindingDriverContract(NodeFixtures):
    """What every binding driver has to do, and why."""

    def test_the_library_would_load_it(self) -> None:
        """Else the first who sees the refusal is an operator."""
        broken = plugins.find_breach(
            self.driver_class, plugins.BINDING_DRIVERS
        )
        assert not broken, f'{self.driver_class.__qualname__} {broken}'

    def test_a_snapshot_is_what_the_node_shows(
        self, driver: base.BindingDriver, host: base.Host, pci: str
    ) -> None:
        """What it leaves out, no ``disconnect`` can restore."""
        state, device = driver.snapshot(pci), host.pci.device(pci)
        assert (state.driver, state.ifname) == (device.driver, device.ifname)
        assert state.settings == self.settings(host, pci)
        if device.ifname:
            link = host.links.get(device.ifindex)
            assert (state.mac, state.mtu) == (link.mac, link.mtu)
            assert (state.alias, state.up) == (link.alias, link.up)
            assert (state.altnames, state.traits) == (
                link.altnames,
                link.traits,
            )

    def test_a_snapshot_of_no_vf_is_refused(
        self, driver: base.BindingDriver
    ) -> None:
        """An empty state, restored, would be a VF without a driver."""
        with pytest.raises(exceptions.DeviceMissing, match=NO_VF):
            driver.snapshot(NO_VF)

    def test_a_snapshot_of_a_pf_is_refused(
        self, driver: base.BindingDriver, host: base.Host, pci: str
    ) -> None:
        """A device plugin that offers it would give away all its VFs."""
        pf = host.pci.device(pci).pf
        if pf:
            with pytest.raises(exceptions.DeviceMissing, match=pf):
                driver.snapshot(pf)

    def test_a_snapshot_changes_nothing(
        self, driver: base.BindingDriver, host: base.Host, pci: str
    ) -> None:
        """There is no record yet from which a change could be undone."""
        before = self.shown(host, pci)
        assert driver.snapshot(pci) == driver.snapshot(pci)
        assert self.shown(host, pci) == before

    def test_the_pf_holds_mac_and_vlan_of_the_port(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
    ) -> None:
        """A VF on no VLAN, or another's, reaches another tenant."""
        vif = attachment.vif
        driver.connect(attachment)
        held = self.settings(host, attachment.pci)
        assert (held is None) == (attachment.pf == '')
        if held:
            assert (held.mac, held.vlan) == (vif.mac, vif.vlan)

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

    def test_the_neighbours_are_told_by_the_way(
        self, driver: base.BindingDriver, attachment: model.Attachment
    ) -> None:
        """No lock is held for it: what it changed would be a race."""
        driver.connect(attachment)
        driver.announce(attachment)
        driver.check(attachment)
        driver.disconnect(attachment)
        assert driver.snapshot(attachment.pci) == attachment.original

    def test_disconnect_restores_the_original(
        self, driver: base.BindingDriver, attachment: model.Attachment
    ) -> None:
        """The next pod must not inherit VLAN, MAC, MTU, name or driver."""
        driver.connect(attachment)
        driver.disconnect(attachment)
        assert driver.snapshot(attachment.pci) == attachment.original

    def test_nothing_that_the_pod_left_on_its_netdev_stays(
        self,
        driver: base.BindingDriver,
        attachment: model.Attachment,
        spoil: Callable[[model.Attachment], None],
    ) -> None:
        """The next pod would have its XDP program, or lack ARP."""
        driver.connect(attachment)
        if self.kernel:
            spoil(attachment)
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
    ) -> None:
        """An operator's hand, or another tool, may have been faster."""
        driver.connect(attachment)
        host.pci.bind(attachment.pci, '', 5.0)
        driver.disconnect(attachment)
        assert driver.snapshot(attachment.pci) == attachment.original

    def test_disconnect_of_a_vf_that_is_no_more_succeeds(
        self, driver: base.BindingDriver, attachment: model.Attachment
    ) -> None:
        """sriov_numvfs was lowered: DEL must still end."""
        driver.disconnect(dataclasses.replace(attachment, pci=NO_VF))

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

    def test_the_operators_driver_override_comes_back(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
        driver_override: Callable[[str], str],
    ) -> None:
        """An operator has pinned the VF to its driver, as for DPDK."""
        pci = attachment.pci
        pinned = host.pci.device(pci).driver
        host.pci.set_override(pci, pinned, 5)
        original = driver.snapshot(pci)
        attachment = dataclasses.replace(attachment, original=original)
        driver.connect(attachment)
        driver.disconnect(attachment)
        assert driver_override(pci) == pinned

    def test_check_accepts_what_connect_made(
        self, driver: base.BindingDriver, attachment: model.Attachment
    ) -> None:
        """CNI CHECK must not restart healthy pods."""
        driver.connect(attachment)
        driver.check(attachment)

    def test_check_sees_what_somebody_else_changed(
        self,
        driver: base.BindingDriver,
        attachment: model.Attachment,
        meddle: Meddle,
    ) -> None:
        """Somebody's ``ip link set vf`` moves the pod to another tenant."""
        driver.connect(attachment)
        words = meddle(attachment)
        with pytest.raises(exceptions.Drifted, match=words):
            driver.check(attachment)

    def test_check_sees_that_routes_are_gone(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
    ) -> None:
        """An interface that was down for a moment has lost them."""
        driver.connect(attachment)
        link = self.interface(host, attachment)
        if link is None:
            return  # the program in the pod has its own
        netns = attachment.sandbox.netns
        host.links.set(link.index, netns, up=False)
        host.links.set(link.index, netns, up=True)
        with pytest.raises(exceptions.Drifted, match=r'route 10\.9\.0\.0/16'):
            driver.check(attachment)

    def test_check_sees_that_the_driver_was_unbound(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
    ) -> None:
        """The pod has no NIC any more, and only CHECK can tell."""
        driver.connect(attachment)
        host.pci.bind(attachment.pci, '', 5.0)
        with pytest.raises(exceptions.Drifted, match=attachment.pci):
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

    def test_a_setting_changes_while_the_pod_runs_or_is_refused(
        self,
        driver: base.BindingDriver,
        host: base.Host,
        attachment: model.Attachment,
    ) -> None:
        """A change that is said to be made, and is not, is found by nobody."""
        driver.connect(attachment)
        before = self.settings(host, attachment.pci)
        spoofchk = before is not None and not before.spoofchk
        vif = dataclasses.replace(attachment.vif, spoofchk=spoofchk)
        try:
            driver.change_settings(attachment, vif)
        except exceptions.UnsupportedSetting:
            assert self.settings(host, attachment.pci) == before
        else:
            now = self.settings(host, attachment.pci)
            assert now is not None
            assert now.spoofchk == spoofchk
            driver.check(dataclasses.replace(attachment, vif=vif))
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


class SimulatedBindingContract(SimulatedNodeFixtures, BindingDriverContract):
    """The same, on a simulated node."""
