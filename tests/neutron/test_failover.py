# SPDX-License-Identifier: Apache-2.0
"""Two controllers lead in turn: no port twice, none lost, none in use gone.

Each has the driver of its own process, and what that remembers.
"""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from faults import Exchange, Hold
from neutronlab.kuryr import MakeDriver, collect, how_to, location, request
from neutronlab.lab import Lab

from kuryr_sriov import exceptions, model


def _ids(admin: Any) -> list[str]:
    return sorted(port.id for port in admin.network.ports())


def test_failback_keeps_the_ports_that_were_made_and_wired_meanwhile(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    first, second = make(), make()
    first.request_vifs(
        dataclasses.replace(pod, uid='another'), [request(first, lab.net22)]
    )
    second.forget_all()
    asked = how_to(second, lab)
    vifs = second.request_vifs(pod, asked)
    for vif in vifs:
        second.activate_vif(pod, vif, location(vif))
    before = _ids(admin)

    first.forget_all()
    again = first.request_vifs(pod, asked)

    assert [vif.id for vif in again] == [vif.id for vif in vifs]
    assert _ids(admin) == before


def test_a_request_of_the_predecessor_that_arrives_late(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any, eventually: Any
) -> None:
    """It is on its way while the successor begins and makes its own."""
    first, second = make(timeout=3), make()
    asked = [request(second, lab.net22)]
    hold = Hold(1)

    def hold_creation(exchange: Exchange) -> None:
        if exchange.method == 'POST':
            hold(exchange)

    with lab.proxy.fault(before=hold_creation):
        with pytest.raises(exceptions.ProviderUnavailable, match='timed out'):
            first.request_vifs(pod, asked)
        second.forget_all()
        (vif,) = second.request_vifs(pod, asked)
        hold.go.set()
        eventually(lambda: len(_ids(admin)) == 2, 'the late port')

    assert second.request_vifs(pod, asked) == (vif,)
    second.activate_vif(pod, vif, location(vif))
    assert len(collect(second, pod)) == 1
    assert _ids(admin) == [vif.id]


def test_a_request_of_the_predecessor_that_arrived_before_the_first_look(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    """The successor has read all ports; then one more was made."""
    first, second = make(), make()
    asked = [request(second, lab.net22)]
    second.forget_all()
    second._store.load()
    (vif,) = first.request_vifs(pod, asked)

    assert second.request_vifs(pod, asked) == (vif,)
    assert _ids(admin) == [vif.id]


def test_what_the_successor_wired_is_not_deleted_for_an_old_memory(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    """A leader that was deposed, and does not know it yet."""
    first, second = make(), make()
    asked = request(first, lab.net22)
    (vif,) = first.request_vifs(pod, [asked])
    second.activate_vif(pod, vif, location(vif))
    edited = dataclasses.replace(asked, mac='fa:16:3e:00:00:02')

    elsewhere = dataclasses.replace(asked, ifname='eth7')
    for change in ([edited], [elsewhere], []):
        with pytest.raises(exceptions.ProviderRefused, match='recreate'):
            first.request_vifs(pod, change)

    assert _ids(admin) == [vif.id]


def test_a_port_that_is_wired_while_it_is_about_to_be_deleted(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    """Between the look and the deletion: Neutron compares revisions."""
    first, second = make(), make()
    asked = request(first, lab.net22)
    (vif,) = first.request_vifs(pod, [asked])
    edited = dataclasses.replace(asked, mac='fa:16:3e:00:00:02')
    wired = threading.Event()

    def wire_before_deletion(exchange: Exchange) -> None:
        if exchange.method == 'DELETE' and not wired.is_set():
            wired.set()
            second.activate_vif(pod, vif, location(vif))

    with (
        lab.proxy.fault(before=wire_before_deletion),
        pytest.raises(exceptions.ProviderUnavailable, match='Revision'),
    ):
        first.request_vifs(pod, [edited])

    assert wired.is_set()
    assert _ids(admin) == [vif.id]
    with pytest.raises(exceptions.ProviderRefused, match='recreate the pod'):
        first.request_vifs(pod, [edited])


def test_a_cluster_that_was_renamed_finds_its_ports(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    old, new = make(cluster='old'), make(cluster='new')
    asked = how_to(old, lab)
    vifs = old.request_vifs(pod, asked)

    assert [v.id for v in new.request_vifs(pod, asked)] == [
        vif.id for vif in vifs
    ]

    new.release_vifs(pod)
    assert _ids(admin) == []


def test_a_short_outage_of_the_agent_is_over_when_it_is_over(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    driver = make()
    mortal = dataclasses.replace(pod, node='node-dead')
    lab.neutron.renew_heartbeat('node-dead')
    asked = [request(driver, lab.net22)]
    (vif,) = driver.request_vifs(mortal, asked)
    place = location(vif, node='node-dead')
    driver.activate_vif(mortal, vif, place)
    lab.neutron.forget_heartbeat('node-dead')
    # an update in the outage: Neutron binds anew, and fails
    moved = dataclasses.replace(place, pci_slot='0000:02:00.7')
    with pytest.raises(exceptions.ProviderUnavailable, match='binding_failed'):
        driver.activate_vif(mortal, vif, moved)
    assert admin.network.get_port(vif.id).binding_vif_type == 'binding_failed'

    with pytest.raises(exceptions.ProviderUnavailable, match='cannot bind'):
        driver.request_vifs(mortal, asked)
    lab.neutron.renew_heartbeat('node-dead')
    (again,) = driver.request_vifs(mortal, asked)

    assert again.id == vif.id
    port = admin.network.get_port(vif.id)
    assert port.binding_vif_type == 'hw_veb'
    assert port.binding_profile['pci_slot'] == '0000:02:00.7'


class CountedLock:
    """Tells of each who was inside: he has seen the call under way."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.visits = threading.Semaphore(0)

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()
        self.visits.release()


def test_many_pods_behind_a_slow_list_wait_once(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    """All of them fail with the one list that failed; none asks again."""
    driver = make()
    requests = [request(driver, lab.net22)]
    hold = Hold(1)

    def fail_lists(exchange: Exchange) -> None:
        if exchange.method == 'GET' and '/ports' in exchange.path:
            hold(exchange)
            exchange.status = 503

    guard: Any = CountedLock()
    driver._store._loading._guard = guard
    pods = [dataclasses.replace(pod, uid=f'uid-{n}') for n in range(8)]
    with (
        lab.proxy.fault(before=fail_lists),
        ThreadPoolExecutor(8) as pool,
    ):
        results = [
            pool.submit(driver.request_vifs, one, requests) for one in pods
        ]
        assert hold.reached.wait(30)
        for _pod in pods:
            assert guard.visits.acquire(timeout=30)
        hold.go.set()
        errors = [one.exception(30) for one in results]

    assert {type(one) for one in errors} == {exceptions.ProviderUnavailable}
    lists = [c for c in lab.proxy.calls if str(c) == 'GET /v2.0/ports']
    assert len(lists) == 1
