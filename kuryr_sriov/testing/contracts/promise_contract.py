# SPDX-License-Identifier: Apache-2.0
"""The contract suite of VIF drivers that promise networks.

Such a driver is for nodes whose VFs are ports already: what it returns of a
request has no id yet (``model.Vif.is_promise``), and the node completes it.
Subclass ``PromiseContract`` as you would ``PodVIFDriverContract``; of the
fixtures it needs ``conf``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.drivers import base
from kuryr_sriov.testing.fixtures.provider_fixtures import (
    ProviderFixtures,
    inactive,
)

Requests = Sequence[model.NetworkRequest]
MakeDriver = Callable[[], base.PodVIFDriver]
Locate = Callable[[model.Vif], model.Location]


class PromiseContract(ProviderFixtures):
    """What a driver has to do that promises networks, and why."""

    @pytest.fixture
    def completed(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> model.Vif:
        """A promise, with the port that the node has found."""
        promised, *_ = driver.request_vifs(pod, requests)
        return dataclasses.replace(
            promised, id='3f1c1d2e-0000-4000-8000-000000000001'
        )

    def test_the_library_would_load_it(self) -> None:
        """Else the first who sees the refusal is an operator."""
        broken = plugins.find_breach(self.driver_class, plugins.VIF_DRIVERS)
        assert not broken, f'{self.driver_class.__qualname__} {broken}'

    def test_each_request_has_its_promise_in_order(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """The network is what the node holds a VF against."""
        vifs = driver.request_vifs(pod, requests)
        assert isinstance(vifs, tuple)
        for vif, request in zip(vifs, requests, strict=True):
            assert vif.is_promise
            made = vif.mac, vif.addresses, vif.vlan, vif.active
            assert not any(made)
            assert vif.provider_network == request.subnets[0].network
            assert vif.ifname == request.ifname
            assert vif.network == str(request)
            assert vif.resource == request.resource
            assert vif.physnet == request.subnets[0].physnet

    def test_asked_again_it_is_the_same(
        self, make: MakeDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """Every event of a pod asks, also after a restart."""
        vifs = make().request_vifs(pod, requests)
        assert make().request_vifs(pod, requests) == vifs
        assert make().request_vifs(pod, requests[::-1]) == vifs[::-1]

    def test_the_default_route_asked_for_is_promised(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """It is the pod's choice, not the port's."""
        request = dataclasses.replace(requests[0], gateways=('192.0.2.1',))
        (vif,) = driver.request_vifs(pod, [request])
        assert vif.gateways == ('192.0.2.1',)

    @pytest.mark.parametrize(
        'wish', [{'ips': ('192.0.2.7',)}, {'mac': '02:00:00:00:00:07'}]
    )
    def test_what_the_port_has_already_cannot_be_chosen(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        requests: Requests,
        wish: dict[str, object],
    ) -> None:
        """Another one in silence is a pod that nobody reaches."""
        request = dataclasses.replace(requests[0], **wish)  # type: ignore[arg-type]
        with pytest.raises(exceptions.ProviderRefused, match=request.ifname):
            driver.request_vifs(pod, [request])

    def test_nothing_was_made_so_that_nothing_is_listed(
        self, driver: base.PodVIFDriver, pod: model.Pod, requests: Requests
    ) -> None:
        """Who collects orphans would delete a port of the machine."""
        driver.request_vifs(pod, requests)
        assert list(driver.list_vifs()) == []
        driver.release_vifs(pod)
        driver.release_vifs(pod)

    def test_activation_changes_nothing_else(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        completed: model.Vif,
        location: Locate,
    ) -> None:
        """The VIF is on the VF by now; what differs there is drift."""
        place = location(completed)
        for _ in range(2):
            active = driver.activate_vif(pod, completed, place)
            assert active.active
            assert inactive(active) == completed

    def test_what_is_no_port_of_a_machine_is_not_activated(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        completed: model.Vif,
        location: Locate,
    ) -> None:
        """It was promised before the node had this driver."""
        made = dataclasses.replace(completed, provider_network='')
        with pytest.raises(exceptions.ProviderRefused, match=made.ifname):
            driver.activate_vif(pod, made, location(made))

    @pytest.mark.parametrize(
        'change', [{'node': 'elsewhere'}, {'physical_network': 'elsewhere'}]
    )
    def test_a_report_from_elsewhere_is_refused(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        completed: model.Vif,
        location: Locate,
        change: dict[str, str],
    ) -> None:
        """A node reports what it likes, of whatever port it has heard."""
        wrong = dataclasses.replace(location(completed), **change)
        with pytest.raises(exceptions.ProviderRefused, match='elsewhere'):
            driver.activate_vif(pod, completed, wrong)
