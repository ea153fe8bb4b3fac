# SPDX-License-Identifier: Apache-2.0
"""Binding drivers with mistakes that are easily made."""

import contextlib
from dataclasses import replace

import mutants
from mutants import caught_by

from kuryr_sriov import exceptions
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.testing.contracts.binding_contract import (
    SimulatedBindingContract,
)


def without(attachment, **fields):
    return replace(attachment, vif=replace(attachment.vif, **fields))


class Stated(NetdeviceDriver):
    contract = 1


@caught_by('test_the_library_would_load_it')
class StatesNoContract(NetdeviceDriver):
    """Inherits the version, and so claims any."""


@caught_by('test_the_pf_holds_mac_and_vlan_of_the_port')
class ForgetsTheVlan(Stated):
    def connect(self, attachment):
        super().connect(without(attachment, vlan=0))


@caught_by('test_the_pod_has_the_interface_of_its_vif')
class ForgetsTheMtu(Stated):
    def connect(self, attachment):
        super().connect(without(attachment, mtu=0))


@caught_by('test_the_pod_has_the_interface_of_its_vif')
class ForgetsTheGateway(Stated):
    def connect(self, attachment):
        super().connect(without(attachment, gateways=()))


@caught_by('test_the_neighbours_are_told_by_the_way')
class AddsTheAddressesWhenItTells(Stated):
    def connect(self, attachment):
        super().connect(without(attachment, addresses=(), gateways=()))

    def announce(self, attachment):
        super().connect(attachment)


@caught_by('test_a_refused_setting_is_named_and_nothing_stays')
class TakesARefusalForSuccess(Stated):
    def connect(self, attachment):
        with contextlib.suppress(exceptions.UnsupportedSetting):
            super().connect(attachment)


@caught_by('test_a_refused_setting_is_named_and_nothing_stays')
class DoesNotSayWhichSettingIsRefused(Stated):
    def connect(self, attachment):
        try:
            super().connect(attachment)
        except exceptions.UnsupportedSetting as error:
            raise exceptions.KernelError('invalid argument', 22) from error


@caught_by('test_disconnect_restores_the_original')
class LosesTheMac(Stated):
    def disconnect(self, attachment):
        original = replace(attachment.original, mac=attachment.vif.mac)
        super().disconnect(replace(attachment, original=original))


@caught_by('test_disconnect_restores_the_original')
class LosesThePfsSettings(Stated):
    def disconnect(self, attachment):
        original = replace(attachment.original, settings=None)
        super().disconnect(replace(attachment, original=original))


@caught_by('test_disconnect_works_when_the_netns_is_gone')
class RaisesOnAMissingNetns(Stated):
    def disconnect(self, attachment):
        if not self.host.links.alive(attachment.sandbox.netns):
            raise exceptions.KernelError('no such file or directory', 2)
        super().disconnect(attachment)


@caught_by('test_disconnect_works_when_the_netns_is_gone')
class GivesUpOnAMissingNetns(Stated):
    def disconnect(self, attachment):
        if self.host.links.alive(attachment.sandbox.netns):
            super().disconnect(attachment)


@caught_by('test_disconnect_may_be_repeated')
class IsNotIdempotent(Stated):
    def disconnect(self, attachment):
        device = self.host.pci.device(attachment.pci)
        if device.ifname == attachment.original.ifname:
            raise exceptions.DeviceMissing('not attached')
        super().disconnect(attachment)


@caught_by('test_disconnect_needs_no_connect')
class ExpectsToHaveConnected(Stated):
    def disconnect(self, attachment):
        netns = attachment.sandbox.netns
        if self.host.links.alive(netns):
            link = self.host.links.find(attachment.pci, netns)
            self.host.links.set(link.index, netns, up=False)
        super().disconnect(attachment)


@caught_by('test_disconnect_works_when_the_driver_was_unbound')
class ExpectsTheDriverItBound(Stated):
    def disconnect(self, attachment):
        if not self.host.pci.device(attachment.pci).driver:
            raise exceptions.DeviceBusy(f'{attachment.pci} has no driver')
        super().disconnect(attachment)


@caught_by('test_the_vf_can_be_used_again')
class ServesAVfOnce(Stated):
    def __init__(self, name, host, conf):
        super().__init__(name, host, conf)
        self.served = set()

    def connect(self, attachment):
        if attachment.pci in self.served:
            raise exceptions.DeviceBusy(f'{attachment.pci} was in use')
        self.served.add(attachment.pci)
        super().connect(attachment)


@caught_by('test_driver_override_is_never_left_behind')
class PinsTheDriver(Stated):
    """Writes to sysfs by itself, as many a script does."""

    def connect(self, attachment):
        device = f'sys/bus/pci/devices/{attachment.pci}'
        pci = self.host.pci
        pci._put(pci.root / device / 'driver_override', 'igbvf')
        super().connect(attachment)

    def ensure_driver(self, device):
        """It would undo the mistake."""


@caught_by('test_the_operators_driver_override_comes_back')
class ForgetsWhatItWasPinnedTo(Stated):
    def snapshot(self, pci):
        return replace(super().snapshot(pci), override='')


@caught_by('test_disconnect_of_a_vf_that_is_no_more_succeeds')
class InsistsOnTheVf(Stated):
    def disconnect(self, attachment):
        self.host.pci.device(attachment.pci)
        super().disconnect(attachment)


@caught_by('test_a_kill_at_any_change_of_connect_can_be_undone')
class RemembersInMemory(Stated):
    """Undoes what this very process has completed."""

    def connect(self, attachment):
        super().connect(attachment)
        self.connected = True

    def disconnect(self, attachment):
        if hasattr(self, 'connected'):
            super().disconnect(attachment)


@caught_by('test_a_kill_at_any_change_of_disconnect_can_be_resumed')
class TakesAnyVfAtHomeForRestored(Stated):
    def disconnect(self, attachment):
        if not self.host.pci.device(attachment.pci).ifname:
            super().disconnect(attachment)


@caught_by('test_a_snapshot_is_what_the_node_shows')
class DoesNotAskThePf(Stated):
    def snapshot(self, pci):
        return replace(super().snapshot(pci), settings=None)


@caught_by('test_a_snapshot_of_a_pf_is_refused')
class TakesAPf(Stated):
    def find_vf(self, pci):
        return self.host.pci.device(pci)


@caught_by('test_nothing_that_the_pod_left_on_its_netdev_stays')
class TrustsThePod(Stated):
    def disconnect(self, attachment):
        original = replace(attachment.original, traits=())
        super().disconnect(replace(attachment, original=original))


@caught_by('test_check_sees_that_routes_are_gone')
class ForgetsRoutes(Stated):
    def check(self, attachment):
        super().check(without(attachment, routes=(), gateways=()))


@caught_by('test_a_snapshot_changes_nothing')
class PreparesTheVfTooEarly(Stated):
    def snapshot(self, pci):
        self.host.links.set(self.host.pci.device(pci).ifindex, mtu=9000)
        return super().snapshot(pci)


@caught_by('test_a_snapshot_of_no_vf_is_refused')
class SeesVfsThatAreNotThere(Stated):
    def snapshot(self, pci):
        with contextlib.suppress(exceptions.DeviceMissing):
            return super().snapshot(pci)


@caught_by('test_check_sees_what_somebody_else_changed')
class ChecksTheInterfaceOnly(Stated):
    def list_drift(self, attachment):
        return []


@caught_by('test_check_sees_that_the_driver_was_unbound')
class ChecksThePfOnly(Stated):
    def check(self, attachment):
        drift = self.list_drift(attachment)
        if drift:
            raise exceptions.Drifted('; '.join(drift))


@caught_by('test_check_accepts_what_connect_made')
class ChecksMoreThanItWasToldToSet(Stated):
    def check(self, attachment):
        super().check(without(attachment, spoofchk=False))


@caught_by('test_a_setting_changes_while_the_pod_runs_or_is_refused')
class SaysThatItHasChanged(Stated):
    def change_settings(self, attachment, vif):
        pass


@caught_by('test_device_info_names_the_vf_and_its_pf')
class KnowsNoDeviceInfo(Stated):
    def device_info(self, attachment):
        return None


globals().update(mutants.suites(globals(), SimulatedBindingContract))
