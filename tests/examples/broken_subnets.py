# SPDX-License-Identifier: Apache-2.0
"""Subnet drivers with mistakes that are easily made."""

import time

import mutants
from mutants import caught_by
from test_subnets_contract import TestNad as Suite

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.nad import NadSubnetsDriver


class Stated(NadSubnetsDriver):
    contract = 1


@caught_by('test_the_library_would_load_it')
class StatesNoContract(NadSubnetsDriver):
    """Inherits the version, and so claims any."""


@caught_by('test_each_request_leads_to_its_subnets')
class ReturnsNone(Stated):
    def get_subnets(self, request):
        super().get_subnets(request)


@caught_by('test_each_request_leads_to_its_subnets')
class GuessesTheWire(Stated):
    def get_subnets(self, request):
        return tuple(
            model.Subnet(each, 'net', 'physnet22', '192.168.2.0/24')
            for each in request.subnet_ids
        )


@caught_by('test_all_subnets_are_of_one_network_and_one_wire')
class AddsASubnetOfAnotherNetwork(Stated):
    def get_subnets(self, request):
        return (*super().get_subnets(request), self.describe('other'))


@caught_by('test_what_leads_nowhere_is_refused_by_name')
class LooksAtTheFirstSubnetOnly(Stated):
    def get_subnets(self, request):
        return tuple(map(self.describe, request.subnet_ids[:1]))


@caught_by('test_what_leads_nowhere_is_refused_by_name')
class SaysNotWhichNad(Stated):
    def get_subnets(self, request):
        try:
            return super().get_subnets(request)
        except exceptions.InvalidAnnotation as error:
            raise exceptions.InvalidAnnotation('no subnet') from error


@caught_by('test_asked_again_it_is_the_same')
class TakesTurns(Stated):
    turn = 1

    def get_subnets(self, request):
        self.turn = -self.turn
        return super().get_subnets(request)[:: self.turn]


@caught_by('test_asked_by_many_threads_at_once_it_is_the_same')
class KeepsTheQuestionInAnAttribute(Stated):
    def get_subnets(self, request):
        self.request = request
        time.sleep(0.001)  # somebody is asked meanwhile
        return super().get_subnets(self.request)


@caught_by('test_a_changed_subnet_is_seen')
class RemembersForEver(Stated):
    def __init__(self, conf, describe):
        super().__init__(conf, describe)
        self.known = {}

    def get_subnets(self, request):
        if request not in self.known:
            self.known[request] = super().get_subnets(request)
        return self.known[request]


@caught_by('test_an_outage_of_the_provider_stays_one')
class TakesAnOutageForARefusal(Stated):
    def get_subnets(self, request):
        try:
            return super().get_subnets(request)
        except exceptions.ProviderUnavailable as error:
            raise exceptions.InvalidAnnotation(str(request)) from error


globals().update(mutants.suites(globals(), Suite))
