# SPDX-License-Identifier: Apache-2.0
"""VIF drivers with mistakes that are easily made."""

import contextlib
import itertools
import threading
from dataclasses import fields, replace

import mutants
from mutants import caught_by
from test_vif_contract import TestLocal as Suite

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.local import LocalVIFDriver


class Stated(LocalVIFDriver):
    contract = 1


class Changed(Stated):
    """Returns other VIFs than it has made."""

    def request_vifs(self, pod, requests):
        vifs = super().request_vifs(pod, requests)
        return tuple(self.change(vif) for vif in vifs)


def pod_of(owned):
    return owned.pod


@caught_by('test_the_library_would_load_it')
class StatesNoContract(LocalVIFDriver):
    """Inherits the version, and so claims any."""


@caught_by('test_each_request_has_its_vif_in_order')
class ReturnsNone(Stated):
    def request_vifs(self, pod, requests):
        super().request_vifs(pod, requests)


@caught_by('test_each_request_has_its_vif_in_order')
class ForgetsTheVlan(Changed):
    def change(self, vif):
        return replace(vif, vlan=0)


@caught_by('test_asked_in_another_order_each_keeps_its_own')
class HasAnOrderOfItsOwn(Stated):
    def request_vifs(self, pod, requests):
        ordered = sorted(requests, key=lambda request: request.ifname)
        return super().request_vifs(pod, ordered)


@caught_by('test_addresses_are_of_the_subnet_and_in_their_one_form')
class ForgetsThePrefix(Changed):
    def change(self, vif):
        (address,) = vif.addresses
        return replace(vif, addresses=(address.partition('/')[0],))


@caught_by('test_macs_are_unicast_and_in_their_one_form')
class WritesMacsInCapitals(Changed):
    def change(self, vif):
        return replace(vif, mac=vif.mac.upper())


@caught_by('test_a_subnet_is_described')
class KnowsOneNetworkOnly(Stated):
    def describe_subnet(self, subnet_id):
        return replace(super().describe_subnet(subnet_id), network='net')


@caught_by('test_an_unknown_subnet_is_refused_by_its_id')
class SaysNotWhichSubnet(Stated):
    def describe_subnet(self, subnet_id):
        with contextlib.suppress(exceptions.ProviderRefused):
            return super().describe_subnet(subnet_id)
        raise exceptions.ProviderRefused('404')


@caught_by('test_asked_again_it_is_the_same')
class MakesThemAnew(Stated):
    def request_vifs(self, pod, requests):
        self.release_vifs(pod)
        return super().request_vifs(pod, requests)


@caught_by('test_asked_by_the_next_process_it_is_the_same')
class ForgetsOnRestart(Stated):
    def request_vifs(self, pod, requests):
        if not hasattr(self, 'seen'):
            self.release_vifs(pod)
            self.seen = True
        return super().request_vifs(pod, requests)


@caught_by('test_asked_by_many_threads_at_once_it_is_the_same')
class LooksBeforeItActs(Stated):
    """Two threads see that there is nothing, and both make something."""

    def __init__(self, conf, cluster=''):
        super().__init__(conf, cluster)
        self.all_have_looked = threading.Barrier(4)
        self.one_acts = threading.Lock()

    def request_vifs(self, pod, requests):
        found = [o.vif for o in self.list_vifs() if o.pod.uid == pod.uid]
        if found:
            return tuple(found)
        self.all_have_looked.wait(timeout=60)
        with self.one_acts:
            self.release_vifs(pod)
            return super().request_vifs(pod, requests)


@caught_by('test_what_a_crash_cut_short_is_completed')
class KeepsWhatItHasFound(Stated):
    def request_vifs(self, pod, requests):
        found = [o.vif for o in self.list_vifs() if o.pod.uid == pod.uid]
        return tuple(found) or super().request_vifs(pod, requests)


@caught_by('test_no_two_pods_share_anything')
class CountsByItself(Changed):
    """Each process has its own idea of the next free address."""

    def __init__(self, conf, cluster=''):
        super().__init__(conf, cluster)
        self.numbers = itertools.count(10)

    def change(self, vif):
        return replace(vif, addresses=(f'10.1.0.{next(self.numbers)}/24',))


@caught_by('test_a_pod_of_the_same_name_is_another_pod')
class GoesByTheName(Stated):
    def request_vifs(self, pod, requests):
        return super().request_vifs(replace(pod, uid=str(pod)), requests)

    def release_vifs(self, pod):
        super().release_vifs(replace(pod, uid=str(pod)))


@caught_by('test_an_address_asked_for_is_honoured_or_refused')
class HasNoEarForAddresses(Stated):
    def request_vifs(self, pod, requests):
        deaf = [replace(request, ips=()) for request in requests]
        return super().request_vifs(pod, deaf)


@caught_by('test_a_mac_asked_for_is_honoured_or_refused')
class HasNoEarForMacs(Stated):
    def request_vifs(self, pod, requests):
        deaf = [replace(request, mac='') for request in requests]
        return super().request_vifs(pod, deaf)


@caught_by('test_a_setting_of_the_nad_is_honoured_or_refused')
class HasNoEarForNads(Stated):
    """Claims what it inherits, and does none of it."""

    def request_vifs(self, pod, requests):
        deaf = [replace(request, policy=None) for request in requests]
        return super().request_vifs(pod, deaf)


class ClaimsToDoAll(Stated):
    """Of what is not a setting of a VF, it does nothing."""

    policy_fields = frozenset(field.name for field in fields(model.Policy))


@caught_by('test_what_a_nad_names_and_is_not_there_is_refused')
class TakesAnySecurityGroup(ClaimsToDoAll):
    pass


@caught_by('test_without_port_security_nobody_checks_for_spoofing')
class KnowsNoPortSecurity(ClaimsToDoAll):
    pass


@caught_by('test_a_vif_is_active_in_time_or_the_activation_fails')
class WaitsForNothing(ClaimsToDoAll):
    def activate_vif(self, pod, vif, location):
        active = super().activate_vif(pod, vif, location)
        return replace(active, active=False)


@caught_by('test_another_pods_address_is_refused')
class TakesAnotherPodsAddress(Stated):
    def request_vifs(self, pod, requests):
        wanted = {ip for request in requests for ip in request.ips}
        for owned in self.list_vifs():
            if wanted & {a.partition('/')[0] for a in owned.vif.addresses}:
                self.release_vifs(pod_of(owned))
        return super().request_vifs(pod, requests)


@caught_by('test_an_address_of_no_subnet_is_refused')
class PrefersAnAddressToARefusal(HasNoEarForAddresses):
    pass


@caught_by('test_a_subnet_that_is_used_up_says_so_and_recovers')
class TakesExhaustionForGood(Stated):
    def request_vifs(self, pod, requests):
        try:
            return super().request_vifs(pod, requests)
        except exceptions.ProviderExhausted as error:
            raise exceptions.ProviderRefused(str(error)) from error


@caught_by('test_a_pod_gets_all_its_vifs_or_none')
class LeavesHalfARequest(Stated):
    def request_vifs(self, pod, requests):
        return tuple(
            vif
            for request in requests
            for vif in super(Stated, self).request_vifs(pod, [request])
        )


@caught_by('test_activation_changes_nothing_else')
class ForgetsTheVlanWhenActive(Stated):
    def activate_vif(self, pod, vif, location):
        return replace(super().activate_vif(pod, vif, location), vlan=0)


@caught_by('test_activation_changes_nothing_else')
class ActivatesOnce(Stated):
    def activate_vif(self, pod, vif, location):
        if any(o.vif.active for o in self.list_vifs() if o.vif.id == vif.id):
            raise exceptions.ProviderRefused(f'{vif.id} is active already')
        return super().activate_vif(pod, vif, location)


@caught_by('test_an_active_vif_is_still_the_pods')
class LooksForInactiveOnesOnly(Stated):
    def request_vifs(self, pod, requests):
        if any(o.vif.active for o in self.list_vifs()):
            self.release_vifs(pod)
        return super().request_vifs(pod, requests)


@caught_by('test_a_vif_that_nobody_has_changed_is_as_it_was_promised')
class ForgetsThePromisedVlan(Stated):
    def refresh_vifs(self, vifs):
        return [replace(vif, vlan=0) for vif in vifs]


@caught_by('test_no_traffic_flows_before_the_provider_knows_the_vf')
class SaysThatAllAreActive(Stated):
    def find_active(self, vif_ids):
        return list(vif_ids)


@caught_by('test_no_traffic_flows_before_the_provider_knows_the_vf')
class NamesWhatNobodyAskedFor(Stated):
    def find_active(self, vif_ids):
        return [o.vif.id for o in self.list_vifs() if o.vif.active]


@caught_by('test_a_released_vif_is_not_activated')
class ActivatesWhatIsGone(Stated):
    def activate_vif(self, pod, vif, location):
        return replace(vif, active=True)


@caught_by('test_release_gives_back_all_and_the_pods_own_only')
class ReleasesEverything(Stated):
    def release_vifs(self, pod):
        for owned in self.list_vifs():
            super().release_vifs(pod_of(owned))


@caught_by('test_release_gives_back_all_and_the_pods_own_only')
class KeepsWhatIsActive(Stated):
    def release_vifs(self, pod):
        if not any(o.vif.active for o in self.list_vifs()):
            super().release_vifs(pod)


@caught_by('test_release_may_be_repeated_and_be_of_nothing')
class ReleasesOnce(Stated):
    def release_vifs(self, pod):
        if all(owned.pod.uid != pod.uid for owned in self.list_vifs()):
            raise exceptions.ProviderRefused(f'pod {pod} has no VIF')
        super().release_vifs(pod)


@caught_by('test_the_next_process_knows_all_vifs_and_whose_they_are')
class ListsItsOwnMemory(Stated):
    def list_vifs(self):
        return ()


@caught_by('test_one_vif_is_given_back_and_nothing_else')
class GivesBackThePodsOthersToo(Stated):
    def release_vif(self, owned):
        super().release_vifs(owned.pod)


@caught_by('test_one_vif_is_given_back_and_nothing_else')
class GivesBackNothing(Stated):
    def release_vif(self, owned):
        pass


@caught_by('test_a_vif_that_was_placed_since_it_was_listed_is_not_given_back')
class BelievesAnOldList(Stated):
    def release_vif(self, owned):
        super().release_vif(replace(owned, placed=True))


@caught_by('test_it_tells_of_which_pod_a_vif_is_how_old_and_whether_placed')
class TellsTheUidOnly(Stated):
    def list_vifs(self):
        return [
            replace(owned, pod=model.Pod('', '', owned.pod.uid))
            for owned in super().list_vifs()
        ]


@caught_by('test_it_tells_of_which_pod_a_vif_is_how_old_and_whether_placed')
class TakesAllForPlaced(Stated):
    def list_vifs(self):
        return [replace(owned, placed=True) for owned in super().list_vifs()]


@caught_by('test_it_tells_of_which_pod_a_vif_is_how_old_and_whether_placed')
class TellsATimeForAnAge(Stated):
    def list_vifs(self):
        return [replace(owned, age=1.7e9) for owned in super().list_vifs()]


class Believing(Stated):
    """Activates what a node reports, as far as ``verify`` lets it."""

    def activate_vif(self, pod, vif, location):
        for owned in self.list_vifs():
            if owned.vif.id == vif.id:
                return super().activate_vif(
                    *self.verify(owned, pod, vif, location)
                )
        return super().activate_vif(pod, vif, location)


@caught_by('test_another_pods_vif_is_not_activated')
class BelievesWhosePodItIs(Believing):
    def verify(self, owned, pod, vif, location):
        return replace(owned.pod, node=pod.node), vif, location


@caught_by('test_a_vif_is_not_activated_on_another_node')
class BelievesWhereThePodIs(Believing):
    def verify(self, owned, pod, vif, location):
        return replace(pod, node=''), vif, location


@caught_by('test_a_vif_is_not_activated_on_another_wire')
class BelievesWhichWireItIs(Believing):
    def verify(self, owned, pod, vif, location):
        physnet = owned.vif.physnet
        return pod, vif, replace(location, physical_network=physnet)


@caught_by('test_what_is_no_longer_asked_for_and_not_in_use_goes')
class KeepsWhatWasAskedForOnce(Stated):
    def request_vifs(self, pod, requests):
        vifs = []
        for request in requests:
            uid = f'{pod.uid}/{request.ifname}'
            vifs += super().request_vifs(replace(pod, uid=uid), [request])
        return tuple(vifs)

    def list_vifs(self):
        for owned in super().list_vifs():
            uid = owned.pod.uid.partition('/')[0]
            yield replace(owned, pod=replace(owned.pod, uid=uid))


@caught_by('test_what_is_in_use_stays_and_bars_more')
class TakesWhatIsInUse(Stated):
    def request_vifs(self, pod, requests):
        wanted = {request.ifname for request in requests}
        for owned in self.list_vifs():
            ours = owned.pod.uid == pod.uid
            if ours and owned.vif.ifname not in wanted:
                self.release_vif(owned)
        return super().request_vifs(pod, requests)


@caught_by('test_who_leads_again_knows_what_was_done_meanwhile')
class RemembersForEver(Stated):
    def __init__(self, conf, cluster=''):
        super().__init__(conf, cluster)
        self.answers = {}

    def request_vifs(self, pod, requests):
        key = pod.uid, tuple(requests)
        if key not in self.answers:
            self.answers[key] = super().request_vifs(pod, requests)
        return self.answers[key]

    def release_vifs(self, pod):
        super().release_vifs(pod)
        for key in [key for key in self.answers if key[0] == pod.uid]:
            del self.answers[key]


@caught_by('test_another_clusters_vif_is_not_activated')
class ServesAllClustersAlike(Stated):
    """Both clusters share a provider, which does not tell them apart."""

    def __init__(self, conf, cluster=''):
        conf.database = f'{conf.subnets_file}.sqlite'
        super().__init__(conf, cluster)


@caught_by('test_another_clusters_vifs_are_not_listed')
class TakesTheCloudForItsOwn(Stated):
    """Both clusters share a provider, which does not tell them apart."""

    def __init__(self, conf, cluster=''):
        conf.database = f'{conf.subnets_file}.sqlite'
        super().__init__(conf, cluster)


globals().update(mutants.suites(globals(), Suite))
