# SPDX-License-Identifier: Apache-2.0
"""What Neutron is asked, request by request, at keystoneauth's seam."""

from __future__ import annotations

import json
import types
from typing import Any

import pytest
import requests

from kuryr_sriov import exceptions
from kuryr_sriov.clients import neutron, neutron_session
from kuryr_sriov.clients.neutron import NeutronClient

DATE = 'Thu, 01 Jan 2026 00:00:00 GMT'


def answer(content: Any = None, status: int = 200) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.headers['Date'] = DATE
    response._content = json.dumps(content or {}).encode()
    return response


def refusal(kind: str, status: int) -> requests.Response:
    error = {'type': kind, 'message': 'no', 'detail': ''}
    return answer({'NeutronError': error}, status)


class Adapter:
    """keystoneauth's adapter: what it was asked, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answers: list[requests.Response] = []
        self.closed = 0
        close = types.SimpleNamespace(close=self.close)
        self.session = types.SimpleNamespace(session=close, auth=self)

    def close(self) -> None:
        self.closed += 1

    def get_access(self, session: Any) -> Any:
        return types.SimpleNamespace(role_names=['member', 'service'])

    def request(
        self, url: str, method: str, raise_exc: bool, **more: Any
    ) -> requests.Response:
        assert raise_exc is False  # its own errors do not tell the type
        self.asked.append((method, url, more))
        return self.answers.pop(0)


@pytest.fixture
def adapter() -> Adapter:
    return Adapter()


@pytest.fixture
def client(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> NeutronClient:
    monkeypatch.setattr(neutron_session, 'make_adapter', lambda conf: adapter)
    return NeutronClient(None)


ONCE = {'connect_retries': 0, 'status_code_retries': 0}


def test_a_request_that_makes_ports_is_never_repeated(
    client: NeutronClient, adapter: Adapter
) -> None:
    adapter.answers = [answer({'ports': [{'id': 'p1'}]}, 201)]
    assert client.create_ports([{'name': 'a'}]) == [{'id': 'p1'}]
    body = {'ports': [{'name': 'a'}]}
    assert adapter.asked == [('POST', '/ports', {'json': body, **ONCE})]


def test_one_resource(client: NeutronClient, adapter: Adapter) -> None:
    adapter.answers = [
        answer({'subnet': {'id': 's'}}),
        answer({'port': {'id': 'p'}}),
        answer(),
    ]
    assert client.get('subnets', 'subnet', 's') == {'id': 's'}
    assert client.update_port('p', {'name': 'b'}) == {'id': 'p'}
    client.set_tags('p', ('one', 'two'))
    assert adapter.asked == [
        ('GET', '/subnets/s', {}),
        ('PUT', '/ports/p', {'json': {'port': {'name': 'b'}}}),
        ('PUT', '/ports/p/tags', {'json': {'tags': ['one', 'two']}}),
    ]


def test_a_port_that_is_gone_need_not_be_deleted(
    client: NeutronClient, adapter: Adapter
) -> None:
    adapter.answers = [
        answer(None, 204),
        refusal('PortNotFound', 404),
        refusal('RevisionNumberConstraintFailed', 412),
        refusal('PortInUse', 409),
    ]
    client.delete_port('p')
    client.delete_port('p', 7)
    with pytest.raises(exceptions.ProviderUnavailable):
        client.delete_port('p', 7)
    with pytest.raises(neutron.NeutronRefused):
        client.delete_port('p')
    unchanged = {'headers': {'If-Match': 'revision_number=7'}}
    assert [more for *_, more in adapter.asked] == [
        *({}, unchanged, unchanged, {}),
    ]
    assert {call[:2] for call in adapter.asked} == {('DELETE', '/ports/p')}


@pytest.mark.parametrize('key', ['name', 'id', ''])
def test_what_is_named_is_looked_for_by_name_and_then_by_id(
    client: NeutronClient, adapter: Adapter, key: str
) -> None:
    found = [{'id': 'n'}]
    nothing = answer({'networks': []})
    adapter.answers = {
        'name': [answer({'networks': found})],
        'id': [nothing, answer({'networks': found})],
        '': [nothing, nothing],
    }[key]
    assert client.find('networks', 'n') == (found if key else [])
    keys = ['name'] if key == 'name' else ['name', 'id']
    assert adapter.asked == [
        ('GET', '/networks', {'params': {each: 'n'}}) for each in keys
    ]


def test_a_listing_goes_on_from_page_to_page(
    client: NeutronClient, adapter: Adapter
) -> None:
    """By the path of ours: the server's own name may be another."""
    links = [
        {'rel': 'previous', 'href': 'http://inner/ports?marker=0'},
        {'rel': 'next', 'href': 'http://inner/v2.0/ports?a=b&marker=1'},
    ]
    adapter.answers = [
        answer({'ports': [{'id': '1'}], 'ports_links': links}),
        answer({'ports': [{'id': '2'}], 'ports_links': links[:1]}),
    ]
    ports, now = client.list_ports({'a': 'b'})
    assert [port['id'] for port in ports] == ['1', '2']
    assert now.isoformat() == '2026-01-01T00:00:00+00:00'
    assert adapter.asked == [
        ('GET', '/ports', {'params': {'a': 'b'}}),
        ('GET', '/ports?a=b&marker=1', {'params': None}),
    ]


def test_a_listing_whose_last_port_is_deleted_is_begun_again(
    client: NeutronClient, adapter: Adapter
) -> None:
    adapter.answers = [refusal('PortNotFound', 404), answer({'ports': []})]
    assert client.list_ports({})[0] == []
    adapter.answers = [refusal('PortNotFound', 404)] * 9
    with pytest.raises(
        exceptions.ProviderUnavailable, match='faster than Neutron could list'
    ):
        client.list_ports({})
    adapter.answers = [refusal('Other', 404)]
    with pytest.raises(neutron.NeutronRefused):
        client.list_ports({})


def test_active_ports_are_asked_for_a_hundred_at_a_time(
    client: NeutronClient, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neutron, 'IDS_AT_ONCE', 2)
    adapter.answers = [
        answer({'ports': [{'id': 'b'}]}),
        answer({'ports': [{'id': 'c'}]}),
    ]
    assert [*client.find_active_ports({'c', 'a', 'b'})] == ['b', 'c']
    asked = [more['params'] for *_, more in adapter.asked]
    assert asked == [
        {'id': ids, 'status': 'ACTIVE', 'fields': 'id'}
        for ids in (['a', 'b'], ['c'])
    ]


@pytest.mark.parametrize('status', [200, 403, 404])
def test_agents_are_those_that_the_user_may_see(
    client: NeutronClient, adapter: Adapter, status: int
) -> None:
    agents = [{'host': 'a', 'alive': True}, {'host': 'b', 'alive': False}]
    one = (
        answer({'agents': agents})
        if status == 200
        else refusal('Forbidden', status)
    )
    adapter.answers = [one]
    seen = status == 200
    assert client.list_agents() == ({'a': True, 'b': False} if seen else {})
    binary = {'params': {'binary': 'neutron-sriov-nic-agent'}}
    assert adapter.asked == [('GET', '/agents', binary)]


def test_whoever_wants_to_know_is_told_of_each_request(
    client: NeutronClient, adapter: Adapter
) -> None:
    told: list[Any] = []
    client.tell_call = lambda *call: told.append(call)
    adapter.answers = [answer({'port': {}}), refusal('PortNotFound', 404)]
    client.get('ports', 'port', 'p1')
    with pytest.raises(neutron.NeutronRefused) as raised:
        client.update_port('p1', {})
    (first, seconds, nothing), (second, _, error) = told
    assert (first, second, nothing) == ('GET ports', 'PUT ports', None)
    assert 0 <= seconds < 60
    assert error is raised.value


def test_who_is_denied_begins_again_with_new_credentials(
    client: NeutronClient, adapter: Adapter
) -> None:
    adapter.answers = [answer({'port': {}}), refusal('Forbidden', 403)]
    client.get('ports', 'port', 'p1')
    with pytest.raises(neutron.NeutronDenied):
        client.get('ports', 'port', 'p1')
    assert adapter.closed == 1
    assert client._adapter is None
    adapter.answers = [answer({'port': {}})]
    client.get('ports', 'port', 'p1')
    client.close()
    client.close()
    assert adapter.closed == 2


def test_the_roles_are_those_of_the_token(client: NeutronClient) -> None:
    assert client.list_roles() == {'member', 'service'}


def test_each_option_of_keystoneauth_is_there_once_and_not_needed() -> None:
    options = neutron_session.list_options()
    names = [option.dest for option in options]
    assert len(names) == len(set(names))
    assert {'auth_url', 'username', 'cafile', 'timeout'} <= set(names)
    assert not any(option.required for option in options)
