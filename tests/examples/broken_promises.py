# SPDX-License-Identifier: Apache-2.0
"""Drivers for nodes that are VMs, with mistakes that are easily made."""

import dataclasses
import uuid

import mutants
from mutants import caught_by
from test_promise_contract import TestGuest as Suite

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.guest import GuestVIFDriver


class Stated(GuestVIFDriver):
    contract = 2


@caught_by('test_the_library_would_load_it')
class StatesNoContract(GuestVIFDriver):
    """Inherits the version, and so claims any."""


class Changed(Stated):
    """Promises something else than ``guest`` does."""

    def changes(self, request):
        raise NotImplementedError

    def request_vifs(self, pod, requests):
        return tuple(
            dataclasses.replace(vif, **self.changes(request))
            for vif, request in zip(
                super().request_vifs(pod, requests), requests, strict=True
            )
        )


@caught_by('test_each_request_has_its_promise_in_order')
class PromisesTheNad(Changed):
    def changes(self, request):
        return {'provider_network': str(request)}


@caught_by('test_each_request_has_its_promise_in_order')
class MakesUpAMac(Changed):
    def changes(self, request):
        return {'mac': 'fa:16:3e:00:00:01'}


@caught_by('test_asked_again_it_is_the_same')
class CountsItsAnswers(Changed):
    def changes(self, request):
        return {'dns': (str(uuid.uuid4()),)}


@caught_by('test_the_default_route_asked_for_is_promised')
class ForgetsTheDefaultRoute(Changed):
    def changes(self, request):
        return {'gateways': ()}


@caught_by('test_what_the_port_has_already_cannot_be_chosen')
class LooksAwayFromWishes(Stated):
    def request_vifs(self, pod, requests):
        plain = [dataclasses.replace(r, ips=(), mac='') for r in requests]
        return super().request_vifs(pod, plain)


@caught_by('test_nothing_was_made_so_that_nothing_is_listed')
class ListsWhatItPromised(Stated):
    def request_vifs(self, pod, requests):
        self.made = [
            model.OwnedVif(pod, vif)
            for vif in super().request_vifs(pod, requests)
        ]
        return tuple(owned.vif for owned in self.made)

    def list_vifs(self):
        return self.made


@caught_by('test_activation_changes_nothing_else')
class SaysNotThatItIsActive(Stated):
    def activate_vif(self, pod, vif, location):
        active = super().activate_vif(pod, vif, location)
        return dataclasses.replace(active, active=False)


class Careless(Stated):
    """Activates whatever it is told of."""

    def activate_vif(self, pod, vif, location):
        return dataclasses.replace(vif, active=True)


@caught_by('test_what_is_no_port_of_a_machine_is_not_activated')
class ActivatesWhatWasMadeForThePod(Careless):
    pass


@caught_by('test_a_report_from_elsewhere_is_refused')
class BelievesAnyNode(Careless):
    pass


@caught_by('test_a_report_from_elsewhere_is_refused')
class SaysNotFromWhere(Stated):
    def activate_vif(self, pod, vif, location):
        try:
            return super().activate_vif(pod, vif, location)
        except exceptions.ProviderRefused as error:
            raise exceptions.ProviderRefused('no') from error


globals().update(mutants.suites(globals(), Suite))
