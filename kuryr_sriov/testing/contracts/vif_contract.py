# SPDX-License-Identifier: Apache-2.0
"""The contract suite of VIF drivers.

Subclass ``PodVIFDriverContract`` in a pytest module, override the fixtures
that say what your provider has, and pytest runs the suite::

    class TestMyDriver(PodVIFDriverContract):
        driver_class = MyDriver

        @pytest.fixture
        def conf(self):
            return types.SimpleNamespace(my_option='...')

The fixtures are those of ``provider_fixtures.ProviderFixtures``. The suite
asks for some forty VIFs and leaves them behind: let the provider start from
nothing for each test, or take back what is left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.drivers import base
from kuryr_sriov.testing.contracts.vif_policies import Policies
from kuryr_sriov.testing.contracts.vif_requests import (
    MakeDriver,
    Requesting,
    Requests,
)
from kuryr_sriov.testing.fixtures.provider_fixtures import ids_of, inactive

Locate = Callable[[model.Vif], model.Location]

MINUTES = 600.0
"""Longer than a test takes: what was made in it is younger, in seconds."""


class PodVIFDriverContract(Requesting, Policies):
    """What every VIF driver has to do, and why."""

    def test_the_library_would_load_it(self) -> None:
        """Else the first who sees the refusal is an operator."""
        broken = plugins.find_breach(self.driver_class, plugins.VIF_DRIVERS)
        assert not broken, f'{self.driver_class.__qualname__} {broken}'

    # On a VF.

    def test_activation_changes_nothing_else(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """The VIF is on the VF by now; what differs there is drift."""
        for vif in driver.request_vifs(pod, requests):
            place = location(vif)
            active = driver.activate_vif(pod, vif, place)
            assert inactive(active) == inactive(vif)
            again = driver.activate_vif(pod, vif, place)
            assert inactive(again) == inactive(vif)

    def test_an_active_vif_is_still_the_pods(
        self,
        make: MakeDriver,
        pod: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """The pod's events do not end when it runs."""
        driver = make()
        vifs = driver.request_vifs(pod, requests)
        for vif in vifs:
            driver.activate_vif(pod, vif, location(vif))
        for process in (driver, make()):
            kept = process.request_vifs(pod, requests)
            assert [inactive(vif) for vif in kept] == list(vifs)

    def test_a_vif_that_nobody_has_changed_is_as_it_was_promised(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """Else each pod is told, for ever, that its VF is out of date."""
        vifs = driver.request_vifs(pod, requests)
        driver.activate_vif(pod, vifs[0], location(vifs[0]))
        stranger = dataclasses.replace(vifs[0], id='no-vif')
        for now in driver.refresh_vifs([*vifs, stranger]):
            assert inactive(now) in vifs

    def test_no_traffic_flows_before_the_provider_knows_the_vf(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """Else a pod is said to be connected that is not."""
        placed, *others = driver.request_vifs(pod, requests)
        driver.activate_vif(pod, placed, location(placed))
        asked = {placed.id, 'no-vif', *(vif.id for vif in others)}
        assert set(driver.find_active(asked)) <= {placed.id}
        assert list(driver.find_active([vif.id for vif in others])) == []

    def test_a_released_vif_is_not_activated(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """The report was late, and its address may have a new holder."""
        vif, *_ = driver.request_vifs(pod, requests)
        driver.release_vifs(pod)
        with pytest.raises(exceptions.KuryrSriovError, match=vif.id):
            driver.activate_vif(pod, vif, location(vif))
        assert ids_of(driver, pod) == []

    def test_another_pods_vif_is_not_activated(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        other: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """A node reports what it likes, of whatever port it has heard."""
        vif, *_ = driver.request_vifs(pod, requests)
        theirs, *_ = driver.request_vifs(other, requests)
        with pytest.raises(exceptions.ProviderRefused, match=theirs.id):
            driver.activate_vif(pod, theirs, location(theirs))
        assert [owned.placed for owned in driver.list_vifs()] == [False] * 4
        assert driver.activate_vif(pod, vif, location(vif))

    def test_another_clusters_vif_is_not_activated(
        self,
        driver: base.PodVIFDriver,
        neighbour: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """Two clusters on one cloud: whose node is it that reports?"""
        vif, *_ = neighbour.request_vifs(pod, requests)
        with pytest.raises(exceptions.ProviderRefused, match=vif.id):
            driver.activate_vif(pod, vif, location(vif))

    def test_a_vif_is_not_activated_on_another_node(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """The provider would move the port there, away from its pod."""
        vif, *_ = driver.request_vifs(pod, requests)
        elsewhere = dataclasses.replace(location(vif), node='node-elsewhere')
        with pytest.raises(exceptions.ProviderRefused, match='node-elsewhere'):
            driver.activate_vif(pod, vif, elsewhere)

    def test_a_vif_is_not_activated_on_another_wire(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """The node knows which wire the VF is on, the controller the VIF's."""
        vif, *_ = driver.request_vifs(pod, requests)
        wrong = dataclasses.replace(location(vif), physical_network='no-wire')
        with pytest.raises(exceptions.ProviderRefused, match='no-wire'):
            driver.activate_vif(pod, vif, wrong)

    # Changed meanwhile.

    def test_what_is_no_longer_asked_for_and_not_in_use_goes(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """Each edit of an annotation would make one more VIF, without end."""
        driver.request_vifs(pod, requests)
        for count in range(5):
            request = dataclasses.replace(requests[0], ifname=f'eth{count}')
            (vif,) = driver.request_vifs(pod, [request])
            assert ids_of(driver, pod) == [vif.id]
        assert driver.request_vifs(pod, ()) == ()
        assert ids_of(driver, pod) == []

    def test_what_is_in_use_stays_and_bars_more(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """The pod runs on it; and it has no device for another one."""
        (vif,) = driver.request_vifs(pod, requests[:1])
        driver.activate_vif(pod, vif, location(vif))
        renamed = dataclasses.replace(requests[0], ifname='eth7')
        with pytest.raises(exceptions.ProviderRefused, match=str(pod)):
            driver.request_vifs(pod, [renamed])
        assert ids_of(driver, pod) == [vif.id]
        (kept,) = driver.request_vifs(pod, requests[:1])
        assert inactive(kept) == inactive(vif)

    # Two processes, one after another.

    def test_who_leads_again_knows_what_was_done_meanwhile(
        self,
        make: MakeDriver,
        pod: model.Pod,
        other: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """It would make every VIF twice, or take one from a running pod."""
        first, second = make(), make()
        first.request_vifs(other, requests[:1])
        second.forget_all()
        vifs = second.request_vifs(pod, requests)
        second.release_vifs(other)
        for vif in vifs:
            second.activate_vif(pod, vif, location(vif))
        first.forget_all()
        again = first.request_vifs(pod, requests)
        assert [inactive(vif) for vif in again] == list(vifs)
        assert ids_of(first, pod) == sorted(vif.id for vif in vifs)
        (made,) = first.request_vifs(other, requests[:1])
        assert ids_of(first, other) == [made.id]

    # Given back.

    def test_release_gives_back_all_and_the_pods_own_only(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        other: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """A port too few leaks; a port too many cuts off a neighbour."""
        vifs = driver.request_vifs(pod, requests)
        kept = driver.request_vifs(other, requests)
        driver.activate_vif(pod, vifs[0], location(vifs[0]))
        driver.release_vifs(pod)
        assert ids_of(driver, pod) == []
        assert ids_of(driver, other) == sorted(vif.id for vif in kept)

    def test_release_may_be_repeated_and_be_of_nothing(
        self,
        make: MakeDriver,
        pod: model.Pod,
        other: model.Pod,
        requests: Requests,
    ) -> None:
        """Deletions are seen twice, and those of pods that had nothing."""
        driver = make()
        driver.request_vifs(pod, requests)
        driver.release_vifs(pod)
        driver.release_vifs(pod)
        driver.release_vifs(other)
        make().release_vifs(pod)
        assert ids_of(driver, pod, other) == []

    # Orphans.

    def test_the_next_process_knows_all_vifs_and_whose_they_are(
        self,
        make: MakeDriver,
        pod: model.Pod,
        other: model.Pod,
        requests: Requests,
    ) -> None:
        """What is not listed can never be collected."""
        vifs = make().request_vifs(pod, requests)
        more = make().request_vifs(other, requests[:1])
        driver = make()
        assert ids_of(driver, pod) == sorted(vif.id for vif in vifs)
        assert ids_of(driver, other) == [more[0].id]

    def test_it_tells_of_which_pod_a_vif_is_how_old_and_whether_placed(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        other: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """Whoever collects orphans asks for that very pod, by its name."""
        vif, *_ = driver.request_vifs(pod, requests)
        driver.request_vifs(other, requests[:1])
        driver.activate_vif(pod, vif, location(vif))
        listed = list(driver.list_vifs())
        named = {(o.pod.namespace, o.pod.name, o.pod.uid) for o in listed}
        assert named == {
            (one.namespace, one.name, one.uid) for one in (pod, other)
        }
        assert [o.vif.id for o in listed if o.placed] == [vif.id]
        assert all(0 <= owned.age < MINUTES for owned in listed)

    def test_one_vif_is_given_back_and_nothing_else(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        other: model.Pod,
        requests: Requests,
    ) -> None:
        """A deletion that nobody saw leaks; a running pod is no orphan."""
        driver.request_vifs(pod, requests)
        kept = driver.request_vifs(other, requests)
        first, *rest = [o for o in driver.list_vifs() if o.pod.uid == pod.uid]
        driver.release_vif(first)
        driver.release_vif(first)
        assert ids_of(driver, pod) == sorted(owned.vif.id for owned in rest)
        assert ids_of(driver, other) == sorted(vif.id for vif in kept)

    def test_a_vif_that_was_placed_since_it_was_listed_is_not_given_back(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        location: Locate,
    ) -> None:
        """Of two for one interface, the one in use is not the double."""
        (vif,) = driver.request_vifs(pod, requests[:1])
        (owned,) = driver.list_vifs()
        driver.activate_vif(pod, vif, location(vif))
        with pytest.raises(exceptions.TransientError):
            driver.release_vif(owned)
        assert ids_of(driver, pod) == [vif.id]

    def test_another_clusters_vifs_are_not_listed(
        self,
        driver: base.PodVIFDriver,
        neighbour: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
    ) -> None:
        """Two clusters on one cloud do not know each other's pods."""
        vifs = neighbour.request_vifs(pod, requests)
        assert list(driver.list_vifs()) == []
        assert ids_of(neighbour, pod) == sorted(vif.id for vif in vifs)
