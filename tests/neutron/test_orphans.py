# SPDX-License-Identifier: Apache-2.0
"""Ports whose pods are gone: this cluster's, old enough, and no others."""

from __future__ import annotations

import dataclasses
import re
import uuid
from typing import Any

from faults import Exchange
from neutronlab.kuryr import MakeDriver, how_to, location, request
from neutronlab.lab import Lab

from kuryr_sriov import model


def _another(pod: model.Pod) -> model.Pod:
    return dataclasses.replace(pod, uid=str(uuid.uuid4()))


def test_orphans_of_this_cluster_only(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    blue, green = make(orphan_grace=0), make(cluster='green', orphan_grace=0)
    gone, foreign = _another(pod), _another(pod)
    kept = blue.request_vifs(pod, how_to(blue, lab))
    lost = blue.request_vifs(gone, how_to(blue, lab))
    others = green.request_vifs(foreign, how_to(green, lab))

    collected = make(orphan_grace=0).collect_orphans({pod.uid})

    assert sorted(collected) == sorted(vif.id for vif in lost)
    left = {port.id for port in admin.network.ports()}
    assert left == {vif.id for vif in (*kept, *others)}


def test_young_ports_are_left_alone(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    driver = make(orphan_grace=60)
    driver.request_vifs(pod, how_to(driver, lab))

    assert driver.collect_orphans(set()) == ()


def test_without_cluster_nothing_is_collected(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    driver = make(cluster=None, orphan_grace=0)
    driver.request_vifs(pod, [request(driver, lab.net22)])

    assert driver.collect_orphans(set()) == ()
    assert len(list(driver.list_vifs())) == 1


def test_double_of_a_port_in_use_is_collected(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    late, driver = make(), make(orphan_grace=0)
    asked = [request(driver, lab.net22)]
    late._store.load()  # it has looked before the other one begins
    (used,) = driver.request_vifs(pod, asked)
    (double,) = late.request_vifs(pod, asked)
    assert used.id != double.id

    assert driver.collect_orphans({pod.uid}) == ()  # which one is in use?
    driver.activate_vif(used, location(used))

    assert driver.collect_orphans({pod.uid}) == (double.id,)
    assert [port.id for port in admin.network.ports()] == [used.id]


def test_listing_tells_whose_port_it_is(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    driver = make()
    vifs = driver.request_vifs(pod, how_to(driver, lab))

    owned = sorted(make().list_vifs(), key=lambda one: one.vif.ifname)

    assert [one.pod_uid for one in owned] == [pod.uid, pod.uid]
    assert [one.vif.id for one in owned] == [vif.id for vif in vifs]
    assert [one.vif.addresses for one in owned] == [
        vif.addresses for vif in vifs
    ]


def test_port_that_goes_away_while_ports_are_listed(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    driver = make(orphan_grace=0)
    for _pod in range(2):
        driver.request_vifs(_another(pod), how_to(driver, lab))
    deleted: list[str] = []

    def delete_the_marker(exchange: Exchange) -> None:
        marker = re.search(r'marker=([-0-9a-f]+)', exchange.path)
        if marker and not deleted:
            deleted.append(marker[1])
            admin.network.delete_port(marker[1])

    with lab.proxy.fault(before=delete_the_marker):
        collected = driver.collect_orphans(set())

    assert len(deleted) == 1
    assert len(collected) == 3
    assert list(admin.network.ports()) == []
