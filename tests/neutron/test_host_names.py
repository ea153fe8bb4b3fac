# SPDX-License-Identifier: Apache-2.0
"""Nodes that Neutron calls otherwise than Kubernetes does."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import pytest
from neutronlab.kuryr import MakeDriver, location, request, write_conf
from neutronlab.lab import Lab

from kuryr_sriov import exceptions, model
from kuryr_sriov.config import loading
from kuryr_sriov.drivers.neutron import NeutronVIFDriver


@pytest.mark.parametrize(
    ('options', 'node'),
    [
        ({'host_template': 'node-{node}'}, '1'),
        ({'host_template': '{short}'}, 'node-1.k8s.example.org'),
        ({'node_hosts': 'worker:node-1'}, 'worker'),
    ],
    ids=['template', 'short', 'exception'],
)
def test_a_port_is_bound_where_the_agent_is(
    make: MakeDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    options: dict[str, str],
    node: str,
) -> None:
    driver = make(**options)
    here = dataclasses.replace(pod, node=node)
    asked = [request(driver, lab.net22)]

    (vif,) = driver.request_vifs(here, asked)
    active = driver.activate_vif(here, vif, location(vif, node=node))

    port = admin.network.get_port(vif.id)
    assert (port.binding_host_id, port.binding_vif_type) == (
        'node-1',
        'hw_veb',
    )
    assert active.id == vif.id
    # one more process of the controller finds the same port
    (kept,) = make(**options).request_vifs(here, asked)
    assert kept.id == vif.id
    elsewhere = location(vif, node=f'another-{node}')
    with pytest.raises(exceptions.ProviderRefused, match='but its VF is on'):
        driver.activate_vif(here, vif, elsewhere)


def test_a_host_without_agent_is_named_with_those_that_have_one(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    """Who may see the agents; others get the rest of the sentence."""
    driver = make(user='kuryr-admin', host_template='{node}.cloud.example')

    with pytest.raises(exceptions.ProviderUnavailable) as caught:
        driver.request_vifs(pod, [request(driver, lab.net22)])

    message = str(caught.value)
    assert "cannot bind it to host 'node-1.cloud.example'" in message
    assert 'Neutron knows agents of node-1' in message
    assert message.endswith('see [neutron] host_template and node_hosts')
    assert list(admin.network.ports()) == []


def test_all_agents_are_known_though_they_fill_more_than_a_page(
    make: MakeDriver, admin: Any
) -> None:
    """One left out would be called a host without agent."""
    client = make(user='kuryr-admin')._client

    agents = client.list_agents()

    assert agents == {
        agent.host: agent.is_alive for agent in admin.network.agents()
    }
    assert len(agents) > 3  # pagination_max_limit of the tests' Neutron


def preflight(lab: Lab, path: pathlib.Path, **options: str) -> tuple[str, ...]:
    write_conf(lab, path, **options)
    conf = loading.load_config(files=[str(path)])
    section = loading.read_section(conf, NeutronVIFDriver)
    return NeutronVIFDriver.preflight(section)


def test_preflight_compares_with_the_agents(
    lab: Lab, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / 'kuryr.conf'
    wrong = {
        'host_template': '{node}.cloud.example',
        'node_hosts': 'worker:node-11',
    }

    right = preflight(lab, path, user='kuryr-admin')
    found = preflight(lab, path, user='kuryr-admin', **wrong)
    blind = preflight(lab, path, **wrong)

    assert right == blind == ()
    assert [problem.partition(';')[0] for problem in found] == [
        '[neutron] node_hosts: node worker has host node-11, which no SR-IOV '
        'agent has',
        '[neutron] host_template: {node}.cloud.example makes the name of no '
        'host that has an SR-IOV agent',
    ]
    assert all('Neutron knows agents of ' in each for each in found)


def test_preflight_names_the_nodes_without_an_agent(
    lab: Lab, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / 'kuryr.conf'

    def look(user: str, *nodes: str) -> tuple[str, ...]:
        write_conf(lab, path, user=user)
        conf = loading.load_config(files=[str(path)])
        section = loading.read_section(conf, NeutronVIFDriver)
        return NeutronVIFDriver.preflight_nodes(section, lambda: nodes)

    assert look('kuryr-admin', 'node-1') == ()
    (problem,) = look('kuryr-admin', 'node-1', 'rack9-node')
    assert problem.startswith(
        'node rack9-node is host rack9-node in Neutron, which has no SR-IOV '
        'agent, so that its pods get no VF; start neutron-sriov-nic-agent '
    )
    with pytest.raises(exceptions.ProviderRefused, match='shows no SR-IOV'):
        look('kuryr', 'node-1')
