# SPDX-License-Identifier: Apache-2.0
"""The first half of the suite of VIF drivers: requests for VIFs."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import itertools
from collections.abc import Callable, Sequence
from concurrent import futures

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers import base
from kuryr_sriov.testing.fixtures.provider_fixtures import (
    ProviderFixtures,
    ids_of,
)

Requests = Sequence[model.NetworkRequest]
MakeDriver = Callable[[], base.PodVIFDriver]
MakePod = Callable[..., model.Pod]

SMALL = 8
"""More VIFs than the small subnet has room for."""


class Requesting(ProviderFixtures):
    """What a driver promises, to whom, and what it refuses."""

    def request_all(
        self,
        driver: base.PodVIFDriver,
        pods: Sequence[model.Pod],
        requests: Requests,
    ) -> None:
        """The same for each of the pods, one after another."""
        for pod in pods:
            driver.request_vifs(pod, requests)

    # What is promised.

    def test_a_subnet_is_described(
        self, driver: base.PodVIFDriver, subnet_ids: Sequence[str]
    ) -> None:
        """Resource and VLAN follow from it; a guess is another's wire."""
        first, second = map(driver.describe_subnet, subnet_ids)
        assert (first.id, second.id) == tuple(subnet_ids)
        assert first.network != second.network
        ipaddress.ip_network(first.cidr)

    def test_an_unknown_subnet_is_refused_by_its_id(
        self, driver: base.PodVIFDriver, unknown_subnet: str
    ) -> None:
        """A typo in a NAD has to be found by whoever made it."""
        with pytest.raises(exceptions.ProviderRefused, match=unknown_subnet):
            driver.describe_subnet(unknown_subnet)

    def test_each_request_has_its_vif_in_order(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """The wrong VIF on a VF is a pod on the wrong network."""
        vifs = driver.request_vifs(pod, requests)
        assert isinstance(vifs, tuple)
        for vif, request in zip(vifs, requests, strict=True):
            subnet = request.subnets[0]
            assert vif.ifname == request.ifname
            assert vif.network == str(request)
            assert vif.resource == request.resource
            assert vif.physnet == subnet.physnet
            assert subnet.vlan in (None, vif.vlan)
            assert subnet.mtu in (0, vif.mtu)
        assert len({vif.id for vif in vifs}) == len(vifs)

    def test_addresses_are_of_the_subnet_and_in_their_one_form(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """The node writes them as they are; a bare one would be a /32."""
        for vif, request in zip(
            driver.request_vifs(pod, requests), requests, strict=True
        ):
            prefix = ipaddress.ip_network(request.subnets[0].cidr)
            assert vif.addresses
            for address in vif.addresses:
                interface = ipaddress.ip_interface(address)
                assert interface.network == prefix
                assert address == str(interface)

    def test_macs_are_unicast_and_in_their_one_form(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """The PF refuses a multicast MAC, and CHECK compares the text."""
        for vif in driver.request_vifs(pod, requests):
            octets = bytes.fromhex(vif.mac.replace(':', ''))
            assert vif.mac == octets.hex(':')
            assert len(octets) == 6
            assert octets[0] & 1 == 0
            assert any(octets)

    # Asked again.

    def test_asked_again_it_is_the_same(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """Every event of a pod asks; a new port each time drains pools."""
        vifs = driver.request_vifs(pod, requests)
        assert driver.request_vifs(pod, requests) == vifs
        assert ids_of(driver, pod) == sorted(vif.id for vif in vifs)

    def test_asked_in_another_order_each_keeps_its_own(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """A VIF belongs to an interface, not to a place in a list."""
        vifs = driver.request_vifs(pod, requests)
        assert driver.request_vifs(pod, requests[::-1]) == vifs[::-1]

    def test_asked_by_the_next_process_it_is_the_same(
        self, make: MakeDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """A restart of the controller must not change running pods."""
        vifs = make().request_vifs(pod, requests)
        again = make()
        assert again.request_vifs(pod, requests) == vifs
        assert ids_of(again, pod) == sorted(vif.id for vif in vifs)

    def test_what_a_crash_cut_short_is_completed(
        self, make: MakeDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """Half a pod's VIFs are kept, and the other half is made."""
        (first,) = make().request_vifs(pod, requests[:1])
        vifs = make().request_vifs(pod, requests)
        assert vifs[0] == first
        assert len(set(vifs)) == len(requests)

    def test_asked_by_many_threads_at_once_it_is_the_same(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """A pod's events come in bursts, and each has its thread."""
        with futures.ThreadPoolExecutor(4) as threads:
            answers = threads.map(
                lambda _: driver.request_vifs(pod, requests), range(4)
            )
        (vifs,) = set(answers)
        assert ids_of(driver, pod) == sorted(vif.id for vif in vifs)

    # One holder each.

    def test_no_two_pods_share_anything(
        self, make: MakeDriver, make_pod: MakePod, requests: Requests
    ) -> None:
        """Two pods with one address, from two controllers at once."""
        drivers = itertools.cycle((make(), make()))
        work = [(next(drivers), make_pod()) for _ in range(8)]
        with futures.ThreadPoolExecutor(4) as threads:
            answers = list(
                threads.map(lambda w: w[0].request_vifs(w[1], requests), work)
            )
        vifs = [vif for answer in answers for vif in answer]
        assert len({vif.id for vif in vifs}) == len(vifs)
        assert len({vif.mac for vif in vifs}) == len(vifs)
        addresses = [(v.network, a) for v in vifs for a in v.addresses]
        assert len(set(addresses)) == len(addresses)

    def test_a_pod_of_the_same_name_is_another_pod(
        self, driver: base.PodVIFDriver, make_pod: MakePod, requests: Requests
    ) -> None:
        """web-0 comes back before the old web-0 has been released."""
        old, new = make_pod('web-0'), make_pod('web-0')
        driver.request_vifs(old, requests)
        vifs = driver.request_vifs(new, requests)
        driver.release_vifs(old)
        assert driver.request_vifs(new, requests) == vifs
        assert ids_of(driver, old, new) == sorted(vif.id for vif in vifs)

    # Wishes.

    def test_an_address_asked_for_is_honoured_or_refused(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        address: str,
    ) -> None:
        """Firewalls and peers know the address that was asked for."""
        request = dataclasses.replace(requests[0], ips=(address,))
        with contextlib.suppress(exceptions.ProviderRefused):
            (vif,) = driver.request_vifs(pod, [request])
            assert address in {a.partition('/')[0] for a in vif.addresses}

    def test_a_mac_asked_for_is_honoured_or_refused(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        mac: str,
    ) -> None:
        """Licences and DHCP servers know the MAC that was asked for."""
        request = dataclasses.replace(requests[0], mac=mac)
        with contextlib.suppress(exceptions.ProviderRefused):
            (vif,) = driver.request_vifs(pod, [request])
            assert vif.mac == mac

    def test_another_pods_address_is_refused(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        other: model.Pod,
        requests: Requests,
    ) -> None:
        """Else any author of pods can take any pod's traffic.

        It is worth a retry: a StatefulSet's pod is there again before the
        last one has given its address back.
        """
        vifs = driver.request_vifs(other, requests)
        taken = vifs[0].addresses[0].partition('/')[0]
        request = dataclasses.replace(requests[0], ips=(taken,))
        with pytest.raises(exceptions.ProviderExhausted, match=taken):
            driver.request_vifs(pod, [request])
        assert ids_of(driver, pod) == []
        assert driver.request_vifs(other, requests) == vifs

    def test_an_address_of_no_subnet_is_refused(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        foreign_address: str,
    ) -> None:
        """Another address in silence is a pod that nobody reaches."""
        request = dataclasses.replace(requests[0], ips=(foreign_address,))
        with pytest.raises(exceptions.ProviderRefused, match=foreign_address):
            driver.request_vifs(pod, [request])
        assert ids_of(driver, pod) == []

    # All or none.

    def test_a_subnet_that_is_used_up_says_so_and_recovers(
        self,
        driver: base.PodVIFDriver,
        make_pod: MakePod,
        full: model.NetworkRequest,
    ) -> None:
        """It is worth a retry: the next pod that goes makes room."""
        pods = [make_pod() for _ in range(SMALL)]
        with pytest.raises(exceptions.ProviderExhausted):
            self.request_all(driver, pods, [full])
        refused = next(p for p in pods if not ids_of(driver, p))
        driver.release_vifs(pods[0])
        (vif,) = driver.request_vifs(refused, [full])
        assert ids_of(driver, refused) == [vif.id]

    def test_a_pod_gets_all_its_vifs_or_none(
        self,
        driver: base.PodVIFDriver,
        make_pod: MakePod,
        requests: Requests,
        full: model.NetworkRequest,
    ) -> None:
        """What half a pod holds is missing elsewhere, for good."""
        pods = [make_pod() for _ in range(SMALL)]
        with pytest.raises(exceptions.ProviderExhausted):
            self.request_all(driver, pods, [requests[0], full])
        numbers = [len(ids_of(driver, pod)) for pod in pods]
        assert set(numbers) == {0, 2}
