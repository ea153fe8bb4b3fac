# SPDX-License-Identifier: Apache-2.0
"""Allocations with mistakes that are easily made."""

import mutants
from mutants import caught_by

from kuryr_sriov import exceptions, model
from kuryr_sriov.allocations.base import Allocations
from kuryr_sriov.allocations.podresources import PodResources
from kuryr_sriov.testing.contracts.allocations_contract import (
    AllocationsContract,
)


class Sound(PodResources):
    contract = 1


class Suite(AllocationsContract):
    source_class = Sound


@caught_by('test_the_library_would_load_it')
class StatesNoContract(Allocations):
    def list_devices(self, pod):
        return ()


@caught_by('test_a_pod_has_what_the_kubelet_gave_it')
class KnowsOne(Sound):
    def list_devices(self, pod):
        return super().list_devices(pod)[:1]


@caught_by('test_they_are_sorted')
class Unsorted(Sound):
    def list_devices(self, pod):
        return super().list_devices(pod)[::-1]


@caught_by('test_another_pods_devices_are_left_out')
class GoesByName(Sound):
    def list_devices(self, pod):
        others = model.Pod('other', pod.name, 'uid-2')
        return *super().list_devices(pod), *super().list_devices(others)


@caught_by('test_devices_that_are_no_pci_functions_are_among_them')
class OnlyPci(Sound):
    def list_devices(self, pod):
        found = super().list_devices(pod)
        return tuple(d for d in found if model.PCI_ADDRESS.fullmatch(d.pci))


@caught_by('test_a_pod_without_devices_has_none')
class GivesWhatIsLeft(Sound):
    def list_devices(self, pod):
        try:
            return super().list_devices(pod)
        except exceptions.KubeletUnavailable:
            return (model.Device('intel.com/physnet22', '0000:02:10.0'),)


@caught_by('test_what_is_freed_is_gone')
class Remembers(Sound):
    def __init__(self, conf):
        super().__init__(conf)
        self._known = {}

    def list_devices(self, pod):
        if pod not in self._known:
            self._known[pod] = super().list_devices(pod)
        return self._known[pod]


@caught_by('test_what_is_offered_is_told_whoever_has_it')
class OffersWhatIsFree(Sound):
    def list_offered(self):
        offered = super().list_offered()
        return {name: tuple(ids)[1:] for name, ids in offered.items()}


@caught_by('test_a_kubelet_that_is_not_there_is_worth_a_retry')
class TellsNothing(Sound):
    def list_devices(self, pod):
        try:
            return super().list_devices(pod)
        except exceptions.KubeletUnavailable:
            return ()


globals().update(mutants.suites(globals(), Suite, attribute='source_class'))
