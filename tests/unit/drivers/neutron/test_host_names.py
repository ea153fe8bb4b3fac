# SPDX-License-Identifier: Apache-2.0
"""Neutron's names of nodes: template, exceptions, and the agents there are."""

from __future__ import annotations

import pathlib

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.config import loading
from kuryr_sriov.drivers.neutron import NeutronVIFDriver, neutron_options
from kuryr_sriov.drivers.neutron.host_names import HostNames


def read(tmp_path: pathlib.Path, text: str) -> HostNames:
    path = tmp_path / 'kuryr.conf'
    path.write_text(f'[neutron]\n{text}\n')
    conf = loading.load_config(files=[str(path)])
    section = loading.read_section(conf, NeutronVIFDriver)
    return neutron_options.read_host_names(section)


@pytest.mark.parametrize(
    ('text', 'node', 'host'),
    [
        ('', 'worker-1', 'worker-1'),
        ('', '', ''),
        ('host_template = {node}.cloud.example', 'w1', 'w1.cloud.example'),
        ('host_template = {node}.cloud.example', '', ''),
        ('host_template = {short}', 'w1.k8s.example', 'w1'),
        ('host_template = c-{short}.x', 'w1', 'c-w1.x'),
        ('node_hosts = w1:compute-7', 'w1', 'compute-7'),
        ('node_hosts = w1:compute-7', 'w2', 'w2'),
        ('node_hosts = w1.k8s:c7\nhost_template = {node}.x', 'w1.k8s', 'c7'),
    ],
)
def test_the_host_of_a_node(
    tmp_path: pathlib.Path, text: str, node: str, host: str
) -> None:
    assert read(tmp_path, text).host_of(node) == host


@pytest.mark.parametrize(
    ('names', 'host', 'node'),
    [
        (HostNames(), 'w1', 'w1'),
        (HostNames('{node}.x'), 'w1.k8s.x', 'w1.k8s'),
        (HostNames('{node}.x'), 'w1.y', ''),
        (HostNames('{node}.x', {'w9': 'w1.x'}), 'w1.x', 'w9'),
        # which domain it was cut from, nobody tells
        (HostNames('{short}'), 'w1', ''),
    ],
)
def test_the_node_of_a_host(names: HostNames, host: str, node: str) -> None:
    assert names.node_of(host) == node


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'host_template = cloud.example',
            "host_template: 'cloud.example' needs one of {node} and {short}",
        ),
        (
            'host_template = {node}{short}',
            "host_template: '{node}{short}' needs one of {node} and {short}",
        ),
        (
            'host_template = {name}',
            "host_template: '{name}' needs one of {node} and {short}",
        ),
        (
            'node_hosts = w1:c1,w2:c1',
            "node_hosts: nodes 'w1' and 'w2' have one host, 'c1'",
        ),
        ('node_hosts = w1', "node_hosts: 'w1' is not NAME:VALUE"),
    ],
)
def test_what_cannot_be_a_name_of_hosts(
    tmp_path: pathlib.Path, text: str, message: str
) -> None:
    with pytest.raises(exceptions.ConfigurationError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == f'[neutron] {message}; correct the value.'


AGENTS = ('compute-1.cloud', 'compute-2.cloud', 'compute-3.cloud')


@pytest.mark.parametrize(
    ('names', 'hosts'),
    [
        (HostNames(), AGENTS),
        (HostNames('{node}.cloud'), AGENTS),
        (HostNames('{short}.cloud'), AGENTS),
        (HostNames('{node}.example', {'w': AGENTS[0]}), AGENTS[:1]),
        # who may not see the agents cannot tell
        (HostNames('{node}.example', {'w': 'nowhere'}), ()),
    ],
)
def test_hosts_that_have_agents(
    names: HostNames, hosts: tuple[str, ...]
) -> None:
    assert list(names.find_strangers(hosts)) == []


def test_hosts_without_an_agent_are_named_with_those_most_like_them() -> None:
    names = HostNames('{node}.example', {'w': 'compute-2'})

    assert list(names.find_strangers(AGENTS)) == [
        '[neutron] node_hosts: node w has host compute-2, which no SR-IOV '
        'agent has; Neutron knows agents of compute-2.cloud, '
        'compute-1.cloud, compute-3.cloud',
        '[neutron] host_template: {node}.example makes the name of no host '
        'that has an SR-IOV agent; Neutron knows agents of compute-1.cloud, '
        'compute-2.cloud, compute-3.cloud',
    ]


def test_a_short_name_has_no_dot() -> None:
    (problem,) = HostNames('{short}').find_strangers(AGENTS[:1])

    assert problem.startswith('[neutron] host_template: {short} makes the')
