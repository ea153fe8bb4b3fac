# SPDX-License-Identifier: Apache-2.0
"""What Neutron's answers mean, told apart by its error type."""

from __future__ import annotations

import json
import pathlib
import pickle
from typing import Any

import pytest
import requests
from keystoneauth1 import exceptions as ks_exceptions
from openstack import exceptions as sdk_exceptions

from kuryr_sriov import exceptions
from kuryr_sriov.clients import neutron
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
    error = neutron._to_refusal(answer(status, kind))

    assert type(error) is expected
    assert str(status) in str(error)
    assert ('what happened' if kind else 'Reason') in str(error)


@pytest.mark.parametrize(
    ('given', 'seconds'), [('30', 30), ('0', 1), ('Mon, 1 Jan', 5), (None, 5)]
)
def test_retry_after(given: str | None, seconds: float) -> None:
    headers = {} if given is None else {'Retry_After': given}

    error = neutron._to_refusal(answer(503, **headers))

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
    with pytest.raises(expected) as caught, neutron._mapped():
        raise cause

    assert caught.value.__cause__ is cause


def test_our_own_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), neutron._mapped():
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
    plain = neutron._make_session(_section(tmp_path))
    assert (plain.verify, plain.cert, plain.timeout) == (True, None, 60.0)

    full = neutron._make_session(
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
    assert (
        neutron._make_session(_section(tmp_path, insecure='true')).verify
        is False
    )
