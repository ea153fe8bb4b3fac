# SPDX-License-Identifier: Apache-2.0
"""How often Neutron is asked, counted in front of the real one."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from neutronlab.kuryr import how_to, location, request
from neutronlab.lab import Lab

from kuryr_sriov import model
from kuryr_sriov.clients import neutron
from kuryr_sriov.drivers.neutron import NeutronVIFDriver


def settle(driver: NeutronVIFDriver) -> None:
    """As if it had led for minutes: no predecessor's request arrives."""
    driver._store.load()
    driver._store.known._settled_at = 0.0


def test_warm_pod_with_two_vifs_costs_five_requests(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    requests = how_to(driver, lab)
    settle(driver)
    other = model.Pod('default', 'first', str(uuid.uuid4()), 'node-1')
    driver.request_vifs(other, requests)

    with lab.proxy.counted() as attach:
        vifs = driver.request_vifs(pod, requests)
        for vif in vifs:
            driver.activate_vif(pod, vif, location(vif))
    with lab.proxy.counted() as detach:
        driver.release_vifs(pod)
        driver.release_vifs(pod)

    ports = [f'/v2.0/ports/{vif.id}' for vif in vifs]
    assert attach == ['POST /v2.0/ports', *(f'PUT {port}' for port in ports)]
    assert sorted(detach) == sorted(f'DELETE {port}' for port in ports)


def test_new_pod_of_a_young_process_costs_one_read_more(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    """The process that led before may have made its ports."""
    requests = how_to(driver, lab)
    driver._store.load()

    with lab.proxy.counted() as attach:
        driver.request_vifs(pod, requests)
    with lab.proxy.counted() as again:
        driver.request_vifs(pod, requests)

    assert attach == ['GET /v2.0/ports', 'POST /v2.0/ports']
    assert again == []


def test_first_pod_of_a_process_costs_one_read_more_than_that(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    requests = how_to(driver, lab)

    with lab.proxy.counted() as calls:
        driver.request_vifs(pod, requests)

    assert calls == ['GET /v2.0/ports'] * 2 + ['POST /v2.0/ports']


def test_asked_again_it_asks_nothing(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    requests = how_to(driver, lab)
    vifs = driver.request_vifs(pod, requests)

    with lab.proxy.counted() as calls:
        assert driver.request_vifs(pod, requests) == vifs

    assert calls == []


def test_subnets_are_read_once(driver: NeutronVIFDriver, lab: Lab) -> None:
    with lab.proxy.counted() as calls:
        for _time in range(3):
            driver.describe_subnet(lab.net22.subnet)

    assert calls[-2:] == [
        f'GET /v2.0/subnets/{lab.net22.subnet}',
        f'GET /v2.0/networks/{lab.net22.id}',
    ]
    assert len([call for call in calls if 'net' in call]) == 2


def test_release_of_a_pod_that_has_none_costs_nothing(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    settle(driver)

    with lab.proxy.counted() as calls:
        driver.release_vifs(pod)

    assert calls == []


def test_release_by_a_young_process_costs_one_read(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    driver._store.load()

    with lab.proxy.counted() as calls:
        driver.release_vifs(pod)
        driver.release_vifs(pod)

    assert calls == ['GET /v2.0/ports']


@pytest.mark.parametrize('at_once', [1, 2, 100])
def test_which_ports_are_active_costs_by_those_that_are_asked_for(
    driver: NeutronVIFDriver,
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[[Callable[[], object], str], None],
    at_once: int,
) -> None:
    """However many there are: it is asked every few seconds."""
    monkeypatch.setattr(neutron, 'IDS_AT_ONCE', at_once)
    vifs = []
    for number in range(5):
        pod = model.Pod('default', f'p{number}', str(uuid.uuid4()), 'node-1')
        asked = [request(driver, lab.net22)]
        vifs += driver.request_vifs(pod, asked)
        driver.activate_vif(pod, vifs[-1], location(vifs[-1], number))
    wired, silent, *_others = vifs
    slot = location(wired, 0).pci_slot
    lab.neutron.set_vfs({'node-1': [{'mac': wired.mac, 'pci_slot': slot}]})
    pair = {wired.id, silent.id}
    eventually(
        lambda: list(driver.find_active(pair)) == [wired.id],
        'the port that is wired to be ACTIVE, and no other',
    )

    with lab.proxy.counted() as calls:
        assert list(driver.find_active([*pair, 'no-port'])) == [wired.id]
        assert list(driver.find_active([])) == []

    assert calls == ['GET /v2.0/ports'] * -(-3 // at_once)
