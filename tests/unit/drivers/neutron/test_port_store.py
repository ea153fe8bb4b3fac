# SPDX-License-Identifier: Apache-2.0
"""Ports in Neutron and what is known of them, request by request."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from neutronports import DEFAULTS, POD, REQUEST, Client, port_of

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients import neutron
from kuryr_sriov.drivers.neutron import port_body
from kuryr_sriov.drivers.neutron.port_store import PortStore

OURS = 'pod default/web'
NETWORK = f'{OURS}, network default/nad (subnet sub-1)'
UNANSWERED = exceptions.ProviderUnavailable('no answer', 7.0)
REFUSED = neutron.NeutronRefused('IP 10.0.0.9 is in use', 'InUse', 409)
NOT_FOUND = neutron.NeutronRefused('gone', 'PortNotFound', 404)


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def store(client: Client) -> PortStore:
    return PortStore(client, DEFAULTS)  # type: ignore[arg-type]


def test_the_ports_of_the_cluster_are_read_once(
    client: Client, store: PortStore
) -> None:
    client.answers['list_ports'] = [[port_of('p1')]]
    for _ in range(2):
        store.load()
    assert client.calls == [
        (
            'list_ports',
            {
                'device_owner': port_body.DEVICE_OWNER,
                'description': DEFAULTS.description,
            },
        )
    ]
    assert [port.id for port in store.of(POD)] == ['p1']


def test_new_ports_are_known_and_bear_the_clusters_tags(
    client: Client, store: PortStore
) -> None:
    tags = [*DEFAULTS.all_tags]
    for shown, asked in ((tags, 0), (['another'], 1), (None, 1)):
        client.calls.clear()
        client.answers['create_ports'] = [[port_of('p1', tags=shown)]]
        made = store.make(POD, [REQUEST])
        assert [*made] == ['net1']
        assert store.known.get('p1') == made['net1']
        sets = [call for call in client.calls if call[0] == 'set_tags']
        assert sets == [('set_tags', 'p1', DEFAULTS.all_tags)] * asked


def test_ports_of_another_project_are_not_tagged(client: Client) -> None:
    defaults = dataclasses.replace(
        DEFAULTS, namespace_projects={'default': 'theirs'}
    )
    client.answers['create_ports'] = [[port_of('p1', tags=[])]]
    PortStore(client, defaults).make(POD, [REQUEST])  # type: ignore[arg-type]
    assert [call[0] for call in client.calls] == ['create_ports']


@pytest.mark.parametrize(
    ('hosts', 'suggested'),
    [({'node-1.example'}, True), ({'node-1'}, False), (set(), False)],
)
def test_a_port_that_no_agent_took_is_undone_and_the_agents_are_named(
    client: Client, store: PortStore, hosts: set[str], suggested: bool
) -> None:
    unbound = port_of('p1', **{'binding:vif_type': 'binding_failed'})
    client.answers['create_ports'] = [[unbound]]
    client.answers['get'] = [unbound]
    client.answers['list_agents'] = [dict.fromkeys(hosts, True)]
    with pytest.raises(
        exceptions.ProviderUnavailable,
        match=r"p1, net1: .* to host 'node-1' on physnet physnet22 "
        r'\(vif_type binding_failed\)',
    ) as raised:
        store.make(POD, [REQUEST])
    assert raised.value.retry_after == 30
    assert ('node-1.example' in str(raised.value)) is suggested
    assert ('host_template' in str(raised.value)) is suggested
    assert client.calls[-1] == ('delete_port', 'p1', 1)
    assert store.known.get('p1') is None


@pytest.mark.parametrize(
    ('error', 'names', 'doubted'),
    [
        (REFUSED, NETWORK, False),
        (UNANSWERED, OURS, True),
        (exceptions.ProviderExhausted('full'), NETWORK, False),
    ],
)
def test_a_request_that_failed_is_in_doubt_unless_neutron_refused(
    client: Client,
    store: PortStore,
    error: exceptions.KuryrSriovError,
    names: str,
    doubted: bool,
) -> None:
    client.answers['create_ports'] = [error]
    with pytest.raises(type(error)) as raised:
        store.make(POD, [REQUEST])
    assert str(raised.value) == f'{names}: {error}'
    assert raised.value.__cause__ is error
    assert store.known.lost_track_of(POD.uid) is doubted
    for name in ('type', 'status', 'retry_after'):
        if hasattr(error, name):
            assert getattr(raised.value, name) == getattr(error, name)


@pytest.mark.parametrize(
    ('message', 'guilty'),
    [
        ('subnet sub-1 is full', ['nad']),
        ('network red is full', ['nad']),
        ('subnet sub-2 is full', ['other']),
        ('network blue is full', ['other']),
        ('IP 10.9.0.9 is in use', ['other']),
        ('MAC fa:16:3e:00:00:aa is in use', ['other']),
        ('no quota', ['nad', 'other']),
    ],
)
def test_the_network_that_an_error_speaks_of_is_named(
    client: Client, store: PortStore, message: str, guilty: list[str]
) -> None:
    other = dataclasses.replace(
        REQUEST,
        name='other',
        ifname='net2',
        subnets=(model.Subnet('sub-2', 'blue', 'physnet23', '10.9.0.0/24'),),
        ips=('10.9.0.9/24',),
        mac='FA:16:3E:00:00:AA',
    )
    client.answers['create_ports'] = [
        neutron.NeutronRefused(message, 'Error', 409)
    ]
    with pytest.raises(neutron.NeutronRefused) as raised:
        store.make(POD, [REQUEST, other])
    text = str(raised.value)
    for name in ('nad', 'other'):
        assert (f'default/{name}' in text) is (name in guilty)


@pytest.mark.parametrize(
    ('port', 'deleted'),
    [
        (port_of('p1'), True),
        (port_of('p1', slot='0000:02:10.0'), False),
        (NOT_FOUND, False),
    ],
)
def test_what_is_undone_is_looked_at_before_it_goes(
    client: Client, store: PortStore, port: Any, deleted: bool
) -> None:
    client.answers['get'] = [port]
    store.undo([client.parsed('p1')])
    assert (client.calls[-1] == ('delete_port', 'p1', 1)) is deleted


@pytest.mark.parametrize('call', ['get', 'delete_port'])
def test_what_cannot_be_undone_is_in_doubt(
    client: Client,
    store: PortStore,
    call: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.answers[call] = [UNANSWERED]
    store.undo([client.parsed('p1')])
    assert store.known.lost_track_of(POD.uid)
    assert 'port p1 stays for now: no answer' in caplog.text


def test_a_port_that_was_changed_meanwhile_is_in_doubt(
    client: Client, store: PortStore
) -> None:
    store.known.put(client.parsed('p1'))
    client.answers['delete_port'] = [UNANSWERED]
    with pytest.raises(exceptions.ProviderUnavailable):
        store.delete_unchanged(client.parsed('p1'))
    assert store.known.lost_track_of(POD.uid)
    assert store.known.get('p1') is not None
    store.delete(client.parsed('p1'))
    assert client.calls[-1] == ('delete_port', 'p1')
    assert store.known.get('p1') is None


@pytest.mark.parametrize('what', ['ours', "another's", 'gone', 'no answer'])
def test_a_port_that_is_read_again_is_known_as_it_is(
    client: Client, store: PortStore, what: str
) -> None:
    store.known.put(client.parsed('p1'))
    client.answers['get'] = {
        'ours': [port_of('p1', slot='0000:02:10.0')],
        "another's": [port_of('p1', description='mine')],
        'gone': [NOT_FOUND],
        'no answer': [neutron.NeutronRefused('no', 'Forbidden', 403)],
    }[what]
    if what == 'no answer':
        with pytest.raises(neutron.NeutronRefused):
            store.reread('p1')
        return
    port = store.reread('p1')
    known = store.known.get('p1')
    assert client.calls == [('get', 'ports', 'port', 'p1')]
    assert (port is None) is (what == 'gone')
    assert (known is None) is (what == 'gone')
    if known is not None:
        assert (known == port) is (what == 'ours')


def test_a_port_is_bound_when_it_is_asked_for_again(
    client: Client, store: PortStore
) -> None:
    unbound = port_of('p1', **{'binding:vif_type': 'unbound'})
    client.answers['get'] = [port_of('p1'), unbound, unbound]
    client.answers['update_port'] = [port_of('p1'), unbound]
    client.answers['list_agents'] = [UNANSWERED]
    port = client.parsed('p1', **{'binding:vif_type': 'unbound'})
    assert store.bind(port, 'physnet22').bound
    assert len(client.calls) == 1
    assert store.bind(port, 'physnet22').bound
    update = 'update_port', 'p1', {'binding:host_id': 'node-1'}
    assert client.calls[-1] == update
    assert store.known.get('p1') == client.parsed('p1')
    with pytest.raises(
        exceptions.ProviderUnavailable, match='physnet of its network'
    ):
        store.bind(port, '')


@pytest.mark.parametrize('lost', [True, False])
def test_neutron_is_asked_for_a_pod_whose_ports_are_in_doubt(
    client: Client, store: PortStore, lost: bool
) -> None:
    client.answers['list_ports'] = [[port_of('p2')]]
    store.known.put(client.parsed('p1'))
    if lost:
        store.known.doubt(POD.uid)
    found = [port.id for port in store.of(POD)]
    assert found == (['p2'] if lost else ['p1'])
    filters = {'device_owner': port_body.DEVICE_OWNER, 'device_id': POD.uid}
    assert client.calls == [('list_ports', filters)] * lost
