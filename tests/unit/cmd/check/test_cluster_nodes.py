# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov check`` names the nodes that the provider does not know."""

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.clients import neutron
from kuryr_sriov.cmd.check import cluster_nodes
from kuryr_sriov.cmd.check.findings import Subject
from kuryr_sriov.config import loading

CONF = """
[sriov]
vif_driver = neutron
node_vif_drivers = vm-*:guest
physnet_resource_mappings = physnet22:fast
resource_driver_mappings = fast:netdevice
[neutron]
host_template = {{node}}.cloud
node_hosts = odd:compute-7
"""
OFFERS = {
    'w1': {'cpu', 'intel.com/fast'},
    'w2': {'intel.com/fast'},
    'w3': {'intel.com/fast'},
    'odd': {'intel.com/fast'},
    'vm-1': {'intel.com/fast'},
    'plain': {'cpu', 'intel.com/qat', 'example.com/fast'},
}
AGENTS = {'w1.cloud': True, 'w2.cloud': False, 'compute-7': True}


class Session:
    """An API server with these nodes, in two pages."""

    def __init__(self, offers):
        self.offers = list(offers.items())
        self.closed = False

    def list_objects(self, path):
        assert path == '/api/v1/nodes'
        for items in self.offers[:2], self.offers[2:]:
            yield {
                'items': [
                    {
                        'metadata': {'name': name},
                        'status': {'allocatable': dict.fromkeys(names, '1')},
                    }
                    for name, names in items
                ]
            }

    def close(self):
        self.closed = True


def refuse():
    raise exceptions.PermanentError('GET /api/v1/nodes: forbidden')


@pytest.fixture
def check(tmp_path, monkeypatch):
    """``check(agents, text, connect)``: status and message of each result."""

    def check(agents=AGENTS, text=CONF, connect=lambda: Session(OFFERS)):
        monkeypatch.setattr(
            neutron.NeutronClient, 'list_agents', lambda self: agents
        )
        file = tmp_path / 'kuryr.conf'
        file.write_text(text.format())
        conf = loading.load_config(files=[str(file)])
        subject = Subject(None, conf, connect=connect)
        results = cluster_nodes.check_nodes(subject)
        return [(result.status, result.message) for result in results]

    return check


def test_nodes_without_a_live_agent_are_named_with_their_host(check):
    """Not the one that offers no VF, nor the VM, which needs no agent."""
    assert check() == [
        (
            'failed',
            'node w2 is host w2.cloud in Neutron, whose SR-IOV agent is '
            'down, so that its pods get no VF; see whether '
            'neutron-sriov-nic-agent runs there, and what it logs',
        ),
        (
            'failed',
            'node w3 is host w3.cloud in Neutron, which has no SR-IOV agent, '
            'so that its pods get no VF; start neutron-sriov-nic-agent '
            'there, or correct [neutron] host_template or node_hosts: '
            'Neutron knows agents of w1.cloud, w2.cloud, compute-7',
        ),
        ('ok', 'vif driver guest misses no node'),
    ]


def test_all_is_well_where_each_has_one(check):
    agents = dict.fromkeys(('w1.cloud', 'w2.cloud', 'w3.cloud'), True)
    agents['compute-7'] = True
    assert {status for status, _ in check(agents)} == {'ok'}


def test_the_connection_is_closed(check):
    session = Session(OFFERS)
    check(connect=lambda: session)
    assert session.closed


def test_a_user_who_sees_no_agents_is_told_that_nothing_was_compared(check):
    (status, message), _guest = check({})
    assert status == 'skipped'
    assert 'were not looked at: Neutron shows no SR-IOV agent to' in message


def test_who_may_not_list_nodes_is_told_so(check):
    results = check(connect=refuse)
    assert results[0] == (
        'skipped',
        'The nodes of vif driver neutron were not looked at: GET '
        '/api/v1/nodes: forbidden.',
    )


def test_a_driver_that_knows_no_hosts_asks_nobody(check):
    text = '[sriov]\nvif_driver = local\n'
    assert check(text=text, connect=refuse) == [
        ('ok', 'vif driver local misses no node')
    ]
