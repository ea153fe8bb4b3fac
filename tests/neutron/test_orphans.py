# SPDX-License-Identifier: Apache-2.0
"""Ports whose pods are gone: this cluster's, old enough, and no others."""

from __future__ import annotations

import dataclasses
import re
import uuid
from typing import Any

import pytest
from faults import Exchange
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


def _another(pod: model.Pod) -> model.Pod:
    return dataclasses.replace(pod, uid=str(uuid.uuid4()))


def test_orphans_of_this_cluster_only(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    blue, green = make(), make(cluster='green')
    gone, foreign = _another(pod), _another(pod)
    kept = blue.request_vifs(pod, how_to(blue, lab))
    lost = blue.request_vifs(gone, how_to(blue, lab))
    others = green.request_vifs(foreign, how_to(green, lab))

    collected = collect(make(), pod)

    assert sorted(collected) == sorted(vif.id for vif in lost)
    left = {port.id for port in admin.network.ports()}
    assert left == {vif.id for vif in (*kept, *others)}


def test_the_uid_of_the_cluster_tells_two_of_one_name_apart(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    blue, other_blue = make(uid='uid-1'), make(uid='uid-2')
    vifs = blue.request_vifs(pod, how_to(blue, lab))

    assert list(other_blue.list_vifs()) == []
    assert collect(other_blue) == ()

    assert sorted(collect(make(uid='uid-1'))) == sorted(v.id for v in vifs)


def test_age_and_pod_are_told_by_neutron(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    driver = make()
    driver.request_vifs(pod, [request(driver, lab.net22)])

    (owned,) = driver.list_vifs()

    assert owned.pod == pod
    assert 0 <= owned.age < 60
    assert not owned.placed


def test_a_port_that_is_active_is_no_orphan(
    driver: NeutronVIFDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    eventually: Any,
) -> None:
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])
    place = location(vif)
    vf = {'mac': vif.mac, 'pci_slot': place.pci_slot}
    lab.neutron.set_vfs({'node-1': [vf]})
    driver.activate_vif(pod, vif, place)
    eventually(
        lambda: admin.network.get_port(vif.id).status == 'ACTIVE',
        'the port to be ACTIVE',
    )

    assert collect(driver) == ()

    lab.neutron.set_vfs({})
    eventually(
        lambda: admin.network.get_port(vif.id).status == 'DOWN',
        'the port to be DOWN',
    )
    assert collect(driver) == (vif.id,)


def test_a_port_that_changed_since_it_was_read_is_not_deleted(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    """The real Neutron refuses, by the revision that was seen."""
    driver = make()
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])
    read = driver._store.reread(vif.id)
    make().activate_vif(pod, vif, location(vif))

    assert read is not None
    with pytest.raises(exceptions.ProviderUnavailable, match='Revision'):
        driver._store.delete_unchanged(read)

    assert admin.network.find_port(vif.id)
    read = driver._store.reread(vif.id)
    assert read is not None
    driver._store.delete_unchanged(read)
    assert not admin.network.find_port(vif.id)


def test_without_cluster_nothing_is_collected(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    driver = make(cluster=None)
    driver.request_vifs(pod, [request(driver, lab.net22)])

    assert collect(driver) == ()
    assert len(list(admin.network.ports())) == 1


def test_double_of_a_port_in_use_is_collected(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    late, driver = make(), make()
    asked = [request(driver, lab.net22)]
    late._store.load()  # it has looked before the other one begins
    late._store.known._settled_at = 0.0  # and long ago
    (used,) = driver.request_vifs(pod, asked)
    (double,) = late.request_vifs(pod, asked)
    assert used.id != double.id

    assert collect(driver, pod) == ()  # which one is in use?
    driver.activate_vif(pod, used, location(used))

    assert collect(driver, pod) == (double.id,)
    assert [port.id for port in admin.network.ports()] == [used.id]


def test_listing_tells_whose_port_it_is(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    driver = make()
    vifs = driver.request_vifs(pod, how_to(driver, lab))

    owned = sorted(make().list_vifs(), key=lambda one: one.vif.ifname)

    assert [one.pod.uid for one in owned] == [pod.uid, pod.uid]
    assert [one.vif.id for one in owned] == [vif.id for vif in vifs]
    assert [one.vif.addresses for one in owned] == [
        vif.addresses for vif in vifs
    ]


def test_port_that_goes_away_while_ports_are_listed(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    driver = make()
    for _pod in range(2):
        driver.request_vifs(_another(pod), how_to(driver, lab))
    deleted: list[str] = []

    def delete_the_marker(exchange: Exchange) -> None:
        marker = re.search(r'marker=([-0-9a-f]+)', exchange.path)
        if marker and not deleted:
            deleted.append(marker[1])
            admin.network.delete_port(marker[1])

    with lab.proxy.fault(before=delete_the_marker):
        collected = collect(driver)

    assert len(deleted) == 1
    assert len(collected) == 3
    assert list(admin.network.ports()) == []
