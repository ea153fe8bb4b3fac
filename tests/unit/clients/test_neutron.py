# SPDX-License-Identifier: Apache-2.0
"""What Neutron's answers mean, told apart by its error type."""

from __future__ import annotations

import json
import pathlib
import pickle
import threading
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from keystoneauth1 import exceptions as ks_exceptions
from openstack import exceptions as sdk_exceptions

from kuryr_sriov import exceptions
from kuryr_sriov.clients import neutron, neutron_session
from kuryr_sriov.clients.neutron_refusals import explain_refusal
from kuryr_sriov.config import loading
from kuryr_sriov.drivers.neutron import NeutronVIFDriver


def answer(status: int, kind: str = '', **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.reason = 'Reason'
    response.headers.update({k.replace('_', '-'): headers[k] for k in headers})
    if kind:
        error = {'type': kind, 'message': 'what happened', 'detail': ''}
        response._content = json.dumps({'NeutronError': error}).encode()
    return response


@pytest.mark.parametrize(
    ('status', 'kind', 'expected'),
    [
        (409, 'OverQuota', exceptions.ProviderExhausted),
        (409, 'IpAddressGenerationFailure', exceptions.ProviderExhausted),
        (409, 'MacAddressInUse', exceptions.ProviderExhausted),
        (409, 'IpAddressAlreadyAllocated', exceptions.ProviderExhausted),
        (409, 'PortBound', neutron.NeutronRefused),
        (404, 'SubnetNotFound', neutron.NeutronRefused),
        (401, '', neutron.NeutronDenied),
        (403, 'PolicyNotAuthorized', neutron.NeutronDenied),
        (400, '', neutron.NeutronRefused),
        (
            412,
            'RevisionNumberConstraintFailed',
            exceptions.ProviderUnavailable,
        ),
        (429, '', exceptions.ProviderUnavailable),
        (500, 'HTTPInternalServerError', exceptions.ProviderUnavailable),
        (502, '', exceptions.ProviderUnavailable),
        (503, '', exceptions.ProviderUnavailable),
    ],
)
def test_refusal(status: int, kind: str, expected: type[Exception]) -> None:
    error = explain_refusal(answer(status, kind))

    assert type(error) is expected
    assert str(status) in str(error)
    assert ('what happened' if kind else 'Reason') in str(error)


@pytest.mark.parametrize(
    ('given', 'seconds'), [('30', 30), ('0', 1), ('Mon, 1 Jan', 5), (None, 5)]
)
def test_retry_after(given: str | None, seconds: float) -> None:
    headers = {} if given is None else {'Retry_After': given}

    error = explain_refusal(answer(503, **headers))

    assert isinstance(error, exceptions.TransientError)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ('cause', 'expected'),
    [
        (ks_exceptions.Unauthorized(), neutron.NeutronDenied),
        (ks_exceptions.ConnectFailure(), exceptions.ProviderUnavailable),
        (ks_exceptions.ConnectTimeout(), exceptions.ProviderUnavailable),
        (ks_exceptions.DiscoveryFailure(), exceptions.ProviderUnavailable),
        (ks_exceptions.EndpointNotFound(), exceptions.ConfigurationError),
        (ks_exceptions.NoMatchingPlugin('x'), exceptions.ConfigurationError),
        (sdk_exceptions.ConfigException(), exceptions.ConfigurationError),
        (sdk_exceptions.SDKException(), exceptions.ProviderUnavailable),
    ],
)
def test_foreign_errors(cause: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught, neutron_session.map_errors():
        raise cause

    assert caught.value.__cause__ is cause


def test_our_own_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), neutron_session.map_errors():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    'kind', [neutron.NeutronRefused, neutron.NeutronDenied]
)
def test_refusal_crosses_processes(kind: Any) -> None:
    error = kind('text', 'PortNotFound', 404)

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind
    assert (str(again), again.type, again.status) == (
        'text',
        'PortNotFound',
        404,
    )


@pytest.mark.parametrize(
    'content', [b'', b'<html>', b'[]', b'{}', b'{"port": 7}', b'{"port": [']
)
def test_garbage_in_place_of_an_answer_is_no_answer(content: bytes) -> None:
    """What was asked for may have been done all the same."""
    response = answer(201)
    response._content = content

    for read in (neutron._read_object, neutron._read_list):
        with pytest.raises(exceptions.ProviderUnavailable) as caught:
            read(response, 'port')
        assert f'HTTP 201, {len(content)} bytes' in str(caught.value)


def test_an_answer_is_read() -> None:
    response = answer(200)
    response._content = b'{"port": {"id": "a"}, "ports": [{"id": "b"}]}'

    assert neutron._read_object(response, 'port') == {'id': 'a'}
    assert neutron._read_list(response, 'ports') == [{'id': 'b'}]


def test_answer_without_a_date() -> None:
    assert neutron._server_date(answer(200)).tzinfo is not None


def _section(tmp_path: pathlib.Path, **more: Any) -> Any:
    options = {'auth_url': 'https://id.example.org/v3', 'username': 'kuryr'}
    lines = [f'{key} = {value}' for key, value in (options | more).items()]
    path = tmp_path / 'kuryr.conf'
    path.write_text('\n'.join(['[neutron]', *lines]))
    conf = loading.load_config(files=[str(path)])
    return loading.read_section(conf, NeutronVIFDriver)


def test_session_has_ca_certificate_and_timeout(
    tmp_path: pathlib.Path,
) -> None:
    plain = neutron_session.make_session(_section(tmp_path))
    assert (plain.verify, plain.cert, plain.timeout) == (True, None, 60.0)

    full = neutron_session.make_session(
        _section(
            tmp_path,
            cafile='/ca.pem',
            certfile='/cert.pem',
            keyfile='/key.pem',
            timeout=5,
        )
    )
    assert full.verify == '/ca.pem'
    assert full.cert == ('/cert.pem', '/key.pem')
    assert full.timeout == 5
    both = neutron_session.make_session(
        _section(tmp_path, certfile='/both.pem')
    )
    assert both.cert == '/both.pem'
    assert (
        neutron_session.make_session(
            _section(tmp_path, insecure='true')
        ).verify
        is False
    )


class Adapter:
    """keystoneauth's adapter, with one answer for all requests."""

    def __init__(self, response: requests.Response) -> None:
        self.response = response
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.session = types.SimpleNamespace(session=self)
        self.closed = False

    def request(self, url: str, method: str, **more: Any) -> Any:
        self.requests.append((method, url, more))
        return self.response

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def connect(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[requests.Response], tuple[neutron.NeutronClient, Any]]:
    """A client, and the adapter that it has connected with."""

    def build(
        response: requests.Response,
    ) -> tuple[neutron.NeutronClient, Any]:
        adapter = Adapter(response)
        monkeypatch.setattr(
            neutron_session, 'make_adapter', lambda conf: adapter
        )
        return neutron.NeutronClient(None), adapter

    return build


def test_a_deletion_may_depend_on_what_was_seen(connect: Any) -> None:
    client, adapter = connect(answer(204))

    client.delete_port('p', 7)
    client.delete_port('q')

    (_, url, seen), (_, _, blind) = adapter.requests
    assert url == '/ports/p'
    assert seen['headers'] == {'If-Match': 'revision_number=7'}
    assert 'headers' not in blind


def test_a_port_that_is_gone_is_deleted(connect: Any) -> None:
    client, _ = connect(answer(404, 'PortNotFound'))

    client.delete_port('p', 7)


@pytest.mark.parametrize('status', [401, 403])
def test_credentials_that_are_refused_are_read_again(
    connect: Any, status: int
) -> None:
    """Somebody may have corrected clouds.yaml; and a token has the roles
    that there were when it was given."""
    client, adapter = connect(answer(status))

    with pytest.raises(exceptions.ProviderDenied) as caught:
        client.get('ports', 'port', 'p')

    assert caught.value.retry_after == 30
    assert adapter.closed


def test_a_creation_is_never_sent_twice(connect: Any) -> None:
    """Whoever repeats a request that got lost makes a second port."""
    response = answer(201)
    response._content = b'{"ports": []}'
    client, adapter = connect(response)

    client.create_ports([])

    ((_, _, more),) = adapter.requests
    assert (more['connect_retries'], more['status_code_retries']) == (0, 0)


def test_each_request_is_told_with_its_time_and_error(connect: Any) -> None:
    told: list[tuple[str, float, Any]] = []

    def tell(what: str, seconds: float, error: Any) -> None:
        told.append((what, seconds, error))

    client, _ = connect(answer(404, 'PortNotFound'))
    client.delete_port('p')  # nobody wants to know
    client.tell_call = tell
    client.delete_port('p', 7)
    with pytest.raises(neutron.NeutronRefused) as raised:
        client.update_port('p', {})
    (first, second) = told
    assert (first[0], second[0]) == ('DELETE ports', 'PUT ports')
    assert isinstance(first[2], neutron.NeutronRefused)
    assert second[2] is raised.value
    assert all(seconds >= 0 for _, seconds, _ in told)


class CountedLock:
    """Tells of each who was inside: he has seen the call under way."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.visits = threading.Semaphore(0)

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()
        self.visits.release()


def test_those_who_wait_for_keystone_wait_once(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go, tries = threading.Event(), threading.Event(), []

    def fail(conf: Any) -> Any:
        tries.append(conf)
        began.set()
        assert go.wait(30)
        raise ks_exceptions.ConnectTimeout

    client, _ = connect(answer(200))
    monkeypatch.setattr(neutron_session, 'make_adapter', fail)
    guard: Any = CountedLock()
    client._connecting._guard = guard
    with ThreadPoolExecutor(4) as pool:
        results = [
            pool.submit(client.get, 'ports', 'port', 'p') for _ in range(4)
        ]
        assert began.wait(30)
        for _result in results:
            assert guard.visits.acquire(timeout=30)
        go.set()
        errors = [each.exception(30) for each in results]
    assert {type(one) for one in errors} == {exceptions.ProviderUnavailable}
    assert len(tries) == 1


def test_a_session_that_is_made_while_another_is_closed_is_not_lost(
    connect: Any,
) -> None:
    """Closing takes the session and forgets it in one step."""
    client, _ = connect(answer(200))
    client.close()
    guard: Any = CountedLock()
    client._lock = guard
    client._get_adapter()
    assert guard.visits.acquire(blocking=False)
