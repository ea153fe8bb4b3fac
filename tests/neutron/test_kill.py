# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of the controller at every request it makes to change something."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from faults import Exchange, Hold
from neutronlab.child import live_a_life
from neutronlab.kuryr import (
    MakeDriver,
    collect,
    how_to,
    location,
    write_conf,
)
from neutronlab.lab import Lab

from kuryr_sriov import model

STEPS = ['create', 'activate 1', 'activate 2', 'release 1', 'release 2']


@pytest.mark.parametrize('done', [False, True], ids=['before', 'after'])
@pytest.mark.parametrize('step', STEPS)
def test_killed(
    make: MakeDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    tmp_path: pathlib.Path,
    step: str,
    done: bool,
) -> None:
    driver = make()
    requests = how_to(driver, lab)
    conf = tmp_path / 'child.conf'
    write_conf(lab, conf)
    hold = Hold(STEPS.index(step) + 1)

    def stop_there(exchange: Exchange) -> None:
        if exchange.method != 'GET':
            hold(exchange)
            # set by now if it was held: its client is dead
            exchange.lose_request = not done and hold.go.is_set()

    fault = {'after' if done else 'before': stop_there}
    with lab.proxy.fault(**fault):
        controller = live_a_life(conf, pod, requests)
        try:
            assert hold.reached.wait(60)
        finally:
            controller.kill()
            controller.join()
            hold.go.set()

    if step.startswith('release'):
        driver.release_vifs(pod)
    else:
        vifs = driver.request_vifs(pod, requests)
        made = sorted(port.id for port in admin.network.ports())
        assert made == sorted(vif.id for vif in vifs)
        for vif in vifs:
            assert driver.activate_vif(pod, vif, location(vif)).vlan
        assert sorted(collect(driver)) == made
    assert list(admin.network.ports()) == []
