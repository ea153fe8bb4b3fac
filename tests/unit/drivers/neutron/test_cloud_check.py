# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a cloud for us, before the first pod."""

from __future__ import annotations

import types
from typing import Any

import pytest
from neutronports import Client

from kuryr_sriov import exceptions
from kuryr_sriov.clients import neutron
from kuryr_sriov.drivers.neutron import cloud_check

CONF = types.SimpleNamespace(host_template='{node}', node_hosts={})


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(neutron, 'NeutronClient', lambda conf: client)
    client.answers['list_agents'] = [{'node-1': True, 'node-2': False}]
    return client


@pytest.mark.parametrize('roles', [{'member', 'service'}, {'admin'}])
def test_a_user_without_the_role_service_is_told(
    client: Client, roles: Any
) -> None:
    client.answers['list_roles'] = [frozenset(roles)]
    faults = [*cloud_check.find_faults(CONF)]
    assert len(faults) == ('service' not in roles)
    assert all('lacks the role "service"' in fault for fault in faults)
    assert [call[0] for call in client.calls] == [
        *('list_agents', 'list_roles', 'close'),
    ]


def test_a_node_whose_agent_is_not_alive_is_named(client: Client) -> None:
    found = [*cloud_check.find_hostless_nodes(CONF, lambda: ['node-1'])]
    assert found == []
    client.answers['list_agents'] = [{'node-1': True, 'node-2': False}]
    (fault,) = cloud_check.find_hostless_nodes(
        CONF, lambda: ['node-1', 'node-2']
    )
    assert 'node-2' in fault
    assert client.calls[-1] == ('close',)


def test_who_may_not_see_the_agents_is_told_who_has_to_look(
    client: Client,
) -> None:
    client.answers['list_agents'] = [{}]
    with pytest.raises(exceptions.ProviderRefused, match='shows no SR-IOV'):
        [*cloud_check.find_hostless_nodes(CONF, lambda: ['node-1'])]
    assert client.calls[-1] == ('close',)
