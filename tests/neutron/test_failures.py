# SPDX-License-Identifier: Apache-2.0
"""Neutron slow, overloaded, or gone in the middle of a request.

Whatever happens: asked again, the pod has each port once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from faults import Exchange, Hold, Rule
from neutronlab.kuryr import (
    MakeDriver,
    collect,
    how_to,
    location,
    request,
)
from neutronlab.lab import Lab

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.neutron import NeutronVIFDriver


def once(method: str, act: Callable[[Exchange], None]) -> Rule:
    """A rule for the first port request of that method."""
    done = threading.Event()

    def rule(exchange: Exchange) -> None:
        if (
            exchange.method == method
            and '/ports' in exchange.path
            and not done.is_set()
        ):
            done.set()
            act(exchange)

    return rule


def overloaded(exchange: Exchange) -> None:
    exchange.status = 503
    exchange.answer_headers = {'Retry-After': '7'}


def lose_request(exchange: Exchange) -> None:
    exchange.lose_request = True


def lose_answer(exchange: Exchange) -> None:
    exchange.lose_answer = True


FAULTS = [overloaded, lose_request, lose_answer]

GARBAGE = [b'', b'<html>503</html>', b'{}', b'{"ports": [{"id": "x"}]}']


def _one_each(admin: Any, vifs: tuple[model.Vif, ...]) -> bool:
    return sorted(port.id for port in admin.network.ports()) == sorted(
        vif.id for vif in vifs
    )


@pytest.mark.parametrize('fault', FAULTS)
def test_create(
    driver: NeutronVIFDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    fault: Callable[[Exchange], None],
) -> None:
    requests = how_to(driver, lab)

    with lab.proxy.fault(before=once('POST', fault)):
        with pytest.raises(exceptions.ProviderUnavailable) as caught:
            driver.request_vifs(pod, requests)
        vifs = driver.request_vifs(pod, requests)

    assert f'pod {pod}' in str(caught.value)
    if fault is overloaded:
        assert caught.value.retry_after == 7
    assert _one_each(admin, vifs)


@pytest.mark.parametrize('garbage', GARBAGE)
def test_garbage_in_place_of_the_answer_to_a_create(
    driver: NeutronVIFDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    garbage: bytes,
) -> None:
    """A proxy says 201, and the ports are there: they must not leak."""
    requests = how_to(driver, lab)

    def spoil(exchange: Exchange) -> None:
        exchange.answer = garbage

    with lab.proxy.fault(after=once('POST', spoil)):
        with pytest.raises(exceptions.ProviderUnavailable):
            driver.request_vifs(pod, requests)
        assert len(list(admin.network.ports())) == 2
        vifs = driver.request_vifs(pod, requests)

    assert _one_each(admin, vifs)
    driver.release_vifs(pod)
    assert list(admin.network.ports()) == []


@pytest.mark.parametrize('fault', FAULTS)
def test_pod_that_goes_away_after_a_failed_create(
    driver: NeutronVIFDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    fault: Callable[[Exchange], None],
) -> None:
    requests = how_to(driver, lab)

    with lab.proxy.fault(before=once('POST', fault)):
        with pytest.raises(exceptions.ProviderUnavailable):
            driver.request_vifs(pod, requests)
        driver.release_vifs(pod)

    assert list(admin.network.ports()) == []


@pytest.mark.parametrize('fault', FAULTS)
def test_activate(
    driver: NeutronVIFDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    fault: Callable[[Exchange], None],
) -> None:
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])

    with lab.proxy.fault(before=once('PUT', fault)):
        with pytest.raises(exceptions.ProviderUnavailable):
            driver.activate_vif(pod, vif, location(vif))
        driver.activate_vif(pod, vif, location(vif))

    port = admin.network.get_port(vif.id)
    assert port.binding_profile['pci_slot'] == '0000:02:00.1'


@pytest.mark.parametrize('fault', FAULTS)
def test_release(
    driver: NeutronVIFDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    fault: Callable[[Exchange], None],
) -> None:
    driver.request_vifs(pod, how_to(driver, lab))

    with lab.proxy.fault(before=once('DELETE', fault)):
        with pytest.raises(exceptions.ProviderUnavailable):
            driver.release_vifs(pod)
        assert len(list(admin.network.ports())) <= 1  # the other one is gone
        driver.release_vifs(pod)

    assert list(admin.network.ports()) == []


def test_rollback_that_fails_is_made_good_by_release(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    nowhere = model.Pod(pod.namespace, pod.name, pod.uid, 'node-unknown')
    requests = how_to(driver, lab)

    with (
        lab.proxy.fault(before=once('DELETE', overloaded)),
        pytest.raises(exceptions.ProviderUnavailable, match='binding_failed'),
    ):
        driver.request_vifs(nowhere, requests)
    assert len(list(admin.network.ports())) == 1

    driver.release_vifs(nowhere)
    assert list(admin.network.ports()) == []


def test_slow_answer(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    driver = make(timeout=2)
    requests = how_to(driver, lab)
    hold = Hold(1)

    with lab.proxy.fault(after=once('POST', hold)):
        with pytest.raises(exceptions.ProviderUnavailable, match='timed out'):
            driver.request_vifs(pod, requests)
        hold.go.set()
        vifs = driver.request_vifs(pod, requests)

    assert _one_each(admin, vifs)


def test_request_that_arrives_after_its_repetition(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any, eventually: Any
) -> None:
    driver = make(timeout=3)
    asked = [request(driver, lab.net22)]
    hold = Hold(1)

    with lab.proxy.fault(before=once('POST', hold)):
        with pytest.raises(exceptions.ProviderUnavailable, match='timed out'):
            driver.request_vifs(pod, asked)
        vifs = driver.request_vifs(pod, asked)
        hold.go.set()
        eventually(
            lambda: len(list(admin.network.ports())) == 2, 'the late port'
        )

    assert driver.request_vifs(pod, asked) == vifs
    driver.activate_vif(pod, vifs[0], location(vifs[0]))
    assert len(collect(driver, pod)) == 1
    assert _one_each(admin, vifs)


def test_neutron_dies_in_the_middle_and_comes_back(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    requests = how_to(driver, lab)
    hold = Hold(1)

    with (
        lab.proxy.fault(before=once('POST', hold)),
        ThreadPoolExecutor(1) as pool,
    ):
        result = pool.submit(driver.request_vifs, pod, requests)
        assert hold.reached.wait(30)
        lab.neutron.server.kill()
        hold.go.set()
        with pytest.raises(exceptions.ProviderUnavailable):
            result.result()
    with pytest.raises(exceptions.ProviderUnavailable):
        driver.request_vifs(pod, requests)
    lab.neutron.server.start()

    vifs = driver.request_vifs(pod, requests)
    for vif in vifs:
        driver.activate_vif(pod, vif, location(vif))
    assert _one_each(admin, vifs)


def test_neutron_down_at_the_first_call(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    driver = make()

    with (
        lab.proxy.fault(before=lose_request),
        pytest.raises(exceptions.ProviderUnavailable),
    ):
        driver.describe_subnet(lab.net22.subnet)

    assert driver.describe_subnet(lab.net22.subnet).mtu == 1500
