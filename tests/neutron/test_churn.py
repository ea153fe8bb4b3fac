# SPDX-License-Identifier: Apache-2.0
"""Many pods at a time: nothing fails and nothing is left."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from conftest import MakeDriver
from neutronlab.kuryr import how_to, location
from neutronlab.lab import REGION, Lab

from kuryr_sriov import model

PORTS = 500
THREADS = 8


def test_500_ports_by_8_threads(
    make: MakeDriver, lab: Lab, admin: Any
) -> None:
    driver = make(region=REGION, port_security_enabled='false')
    requests = how_to(driver, lab)
    pods = [
        model.Pod('default', f'pod-{number}', str(uuid.uuid4()), 'node-1')
        for number in range(PORTS // len(requests))
    ]

    def live(number: int) -> list[model.Vif]:
        vifs = driver.request_vifs(pods[number], requests)
        return [
            driver.activate_vif(vif, location(vif, number)) for vif in vifs
        ]

    with ThreadPoolExecutor(THREADS) as pool:
        vifs = [
            vif for found in pool.map(live, range(len(pods))) for vif in found
        ]
        assert len({vif.id for vif in vifs}) == PORTS
        assert len({vif.mac for vif in vifs}) == PORTS
        assert len({vif.addresses for vif in vifs}) == PORTS
        list(pool.map(driver.release_vifs, pods))

    assert list(driver.list_vifs()) == []
    assert list(admin.network.ports()) == []
