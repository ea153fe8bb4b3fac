# SPDX-License-Identifier: Apache-2.0
"""The contract suite of VIF drivers.

Subclass ``PodVIFDriverContract`` in a pytest module, override the fixtures
that say what your provider has, and pytest runs the suite::

    class TestMyDriver(PodVIFDriverContract):
        driver_class = MyDriver

        @pytest.fixture
        def conf(self):
            return types.SimpleNamespace(my_option='...')

The fixtures are those of ``providers.ProviderFixtures``. The suite asks for
some forty VIFs and leaves them behind: let the provider begin anew for each
test, or take back what is left.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.drivers import base
from kuryr_sriov.testing.contracts.vif_requests import (
    MakeDriver,
    Requesting,
    Requests,
)
from kuryr_sriov.testing.fixtures.provider_fixtures import ids_of, inactive

Locate = Callable[[model.Vif], model.Location]


class PodVIFDriverContract(Requesting):
    """What every VIF driver has to do, and why."""

    def test_the_library_would_load_it(self) -> None:
        """Else the first who sees the refusal is an operator."""
        broken = plugins.broken(
            self.driver_class, base.PodVIFDriver, plugins.VIF_DRIVERS
        )
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
            active = driver.activate_vif(vif, place)
            assert inactive(active) == inactive(vif)
            again = driver.activate_vif(vif, place)
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
            driver.activate_vif(vif, location(vif))
        for process in (driver, make()):
            kept = process.request_vifs(pod, requests)
            assert [inactive(vif) for vif in kept] == list(vifs)

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
            driver.activate_vif(vif, location(vif))
        assert ids_of(driver, pod) == []

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
        driver.activate_vif(vifs[0], location(vifs[0]))
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

    def test_orphans_are_collected_and_nothing_else(
        self,
        impatient: base.PodVIFDriver,
        pod: model.Pod,
        other: model.Pod,
        requests: Requests,
    ) -> None:
        """A deletion that nobody saw leaks; a running pod is no orphan."""
        orphans = impatient.request_vifs(pod, requests)
        kept = impatient.request_vifs(other, requests)
        collected = impatient.collect_orphans({other.uid})
        assert isinstance(collected, tuple)
        assert sorted(collected) == sorted(vif.id for vif in orphans)
        assert ids_of(impatient, pod) == []
        assert ids_of(impatient, other) == sorted(vif.id for vif in kept)
        assert impatient.collect_orphans({other.uid}) == ()

    def test_a_young_vif_is_no_orphan(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """Its pod may be younger than the list of pods."""
        vifs = driver.request_vifs(pod, requests)
        assert driver.collect_orphans(set()) == ()
        assert ids_of(driver, pod) == sorted(vif.id for vif in vifs)

    def test_another_clusters_vifs_are_no_orphans(
        self,
        impatient: base.PodVIFDriver,
        neighbour: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
    ) -> None:
        """Two clusters on one cloud do not know each other's pods."""
        vifs = neighbour.request_vifs(pod, requests)
        assert impatient.collect_orphans(set()) == ()
        assert ids_of(neighbour, pod) == sorted(vif.id for vif in vifs)
