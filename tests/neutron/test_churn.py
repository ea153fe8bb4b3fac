# SPDX-License-Identifier: Apache-2.0
"""Many pods at a time: nothing fails and nothing is left."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from neutronlab.kuryr import MakeDriver, location, request
from neutronlab.lab import REGION, Lab
from neutronlab.neutron import make_network

from kuryr_sriov import model

PORTS = 500
THREADS = 8


def test_500_ports_by_8_threads(
    make: MakeDriver, lab: Lab, admin: Any
) -> None:
    # without security groups a port costs this server a tenth less
    nets = [
        make_network(admin, physnet, 800, cidr, is_port_security_enabled=False)
        for physnet, cidr in (
            ('physnet22', '10.22.0.0/23'),
            ('physnet23', '10.23.0.0/23'),
        )
    ]
    driver = make(region=REGION)
    requests = [
        request(driver, net, f'net{number}') for number, net in enumerate(nets)
    ]
    pods = [
        model.Pod('default', f'pod-{number}', str(uuid.uuid4()), 'node-1')
        for number in range(PORTS // len(requests))
    ]

    def live(number: int) -> list[model.Vif]:
        vifs = driver.request_vifs(pods[number], requests)
        return [
            driver.activate_vif(pods[number], vif, location(vif, number))
            for vif in vifs
        ]

    with (
        lab.neutron.second_worker(),
        ThreadPoolExecutor(THREADS) as pool,
    ):
        made = list(pool.map(live, range(len(pods))))
        list(pool.map(driver.release_vifs, pods))

    vifs = [vif for pair in made for vif in pair]
    assert len({vif.id for vif in vifs}) == PORTS
    assert len({vif.mac for vif in vifs}) == PORTS
    assert len({vif.addresses for vif in vifs}) == PORTS
    assert list(driver.list_vifs()) == []
    assert list(admin.network.ports()) == []
    for net in nets:
        admin.network.delete_network(net.id)
