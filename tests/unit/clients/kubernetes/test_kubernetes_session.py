# SPDX-License-Identifier: Apache-2.0
"""How the API server is asked, and what its refusals become."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import sys
import threading

import certifi
import pytest
import yaml

from kuryr_sriov import exceptions
from kuryr_sriov.clients.kubernetes import credentials
from kuryr_sriov.clients.kubernetes.credentials import Credentials
from kuryr_sriov.clients.kubernetes.refusals import explain_refusal
from kuryr_sriov.clients.kubernetes.session import (
    KubernetesSession,
    Resource,
    _pool_for,
)

PODS = Resource('/api/v1', 'pods')
PORTS = Resource('/apis/openstack.org/v1', 'kuryrsriovports')
WEB = PODS.path('ns', 'web')
POD = {'kind': 'Pod', 'metadata': {'name': 'web'}}


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        (PODS.path(), '/api/v1/pods'),
        (PODS.path('ns', 'web', 'status'), f'{WEB}/status'),
        (
            PORTS.path('a/b', '../c'),
            '/apis/openstack.org/v1/namespaces/a%2Fb/kuryrsriovports/..%2Fc',
        ),
    ],
)
def test_a_name_cannot_leave_its_place(path, expected):
    assert path == expected


def test_a_resource_knows_its_version():
    assert (PODS.api_version, PORTS.api_version) == ('v1', 'openstack.org/v1')


@pytest.mark.parametrize(
    ('code', 'kind'),
    [
        (409, exceptions.ResourceConflict),
        (410, exceptions.ResourceExpired),
        (429, exceptions.TransientError),
        (500, exceptions.TransientError),
        (503, exceptions.TransientError),
    ],
)
def test_worth_a_retry(server, session, code, kind):
    server.refusal = code, 'not now'
    with pytest.raises(kind) as error:
        session.call('GET', WEB)
    assert f'GET {server.url}{WEB}: not now' in str(error.value)
    assert len(server.requests) == 1


def test_retry_after(server, session):
    server.answers[WEB].append(
        lambda request: request.status(429, 'slow down', Retry_After='30')
    )
    with pytest.raises(exceptions.TransientError) as error:
        session.call('GET', WEB)
    assert error.value.retry_after == 30.0


@pytest.mark.parametrize(
    ('code', 'remedy'),
    [
        (400, 'see whether this is the address of an API server'),
        (401, 'renew the credentials'),
        (403, 'bind the roles of deploy/base/rbac.yaml'),
    ],
)
def test_not_worth_a_retry(server, session, code, remedy):
    server.refusal = code, 'never'
    with pytest.raises(exceptions.PermanentError) as error:
        session.call('PATCH', WEB, {'metadata': {}})
    assert str(error.value) == (f'PATCH {server.url}{WEB}: never; {remedy}')


@pytest.mark.parametrize(
    ('status', 'field', 'missing'),
    [
        (404, '', True),
        (422, 'metadata.uid', True),
        (422, 'spec.vifs', False),
        (400, 'metadata.uid', False),
    ],
)
def test_an_object_of_another_uid_is_as_good_as_missing(
    status, field, missing
):
    answer = {'details': {'causes': [{'field': field}]}, 'message': 'no'}
    error = explain_refusal('GET /', status, answer, LookupError)
    assert isinstance(error, LookupError) is missing
    assert isinstance(error, exceptions.PermanentError) is not missing
    assert isinstance(
        explain_refusal('GET /', 404, answer), exceptions.PermanentError
    )


class TlsContext:
    """Stands for that of the module ``ssl``; it has the usual defaults."""

    check_hostname, verify_mode = True, ssl.CERT_REQUIRED

    def __init__(self, cafile):
        self.cafile, self.chain = cafile, None

    def load_cert_chain(self, *chain):
        self.chain = chain


@pytest.mark.parametrize(
    ('more', 'context', 'options'),
    [
        ({}, (None, None, True), {}),
        (
            {'ca_file': 'ca', 'cert_file': 'cert'},
            ('ca', ('cert', None), True),
            {},
        ),
        (
            {'cert_file': 'cert', 'key_file': 'key', 'verify': False},
            (None, ('cert', 'key'), False),
            {},
        ),
        (
            {'server_name': 'kubernetes'},
            (None, None, True),
            dict.fromkeys(
                ('server_hostname', 'assert_hostname'), 'kubernetes'
            ),
        ),
    ],
)
def test_tls_is_as_the_credentials_say(monkeypatch, more, context, options):
    monkeypatch.setattr(
        ssl, 'create_default_context', lambda cafile: TlsContext(cafile)
    )
    pool = _pool_for(Credentials('https://api', **more))
    named = dict(pool.connection_pool_kw)
    made = named.pop('ssl_context')
    verified = made.check_hostname, made.verify_mode
    assert verified == (
        (True, ssl.CERT_REQUIRED) if context[2] else (False, ssl.CERT_NONE)
    )
    assert (made.cafile, made.chain) == context[:2]
    assert {'maxsize', 'socket_options'} <= named.keys()
    assert {name: named[name] for name in options} == options
    assert named.keys() == {'maxsize', 'socket_options', *options}


def test_a_proxy_and_a_server_without_tls_are_taken_as_they_are():
    proxied = _pool_for(Credentials('http://api', proxy='http://proxy:3128'))
    assert proxied.proxy.host == 'proxy'
    assert 'ssl_context' not in proxied.connection_pool_kw
    assert _pool_for(Credentials('http://api')).proxy is None


@pytest.mark.parametrize('body', [b'<html>', b'[]', b'{}', b'\xff'])
def test_no_api_server(server, session, body):
    server.answers[WEB].append(lambda request: request.answer(200, body))
    with pytest.raises(exceptions.PermanentError, match='HTTP status 200'):
        session.call('GET', WEB)


def test_unreachable():
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{unused.getsockname()[1]}'
        with (
            contextlib.closing(KubernetesSession(url)) as session,
            pytest.raises(exceptions.TransientError, match='no answer'),
        ):
            session.call('GET', WEB)


def test_no_answer_in_time(server):
    go_on = threading.Event()
    server.answers[WEB].append(lambda request: go_on.wait(30))
    with (
        contextlib.closing(
            KubernetesSession(server.url, timeout=0.05)
        ) as session,
        pytest.raises(exceptions.TransientError, match='timed out'),
    ):
        session.call('GET', WEB)
    go_on.set()


def test_a_connection_that_breaks_is_worth_one_more(server, session):
    server.objects[WEB] = POD
    server.answers[WEB].append(lambda request: request.hang_up())
    assert session.call('GET', WEB) == POD
    assert len(server.requests) == 2


def test_a_server_that_always_hangs_up_does_not_answer(server, session):
    server.answers[WEB].extend([lambda request: request.hang_up()] * 3)
    with pytest.raises(exceptions.TransientError, match='no answer'):
        session.call('GET', WEB)
    assert len(server.requests) == 2


def test_usable_after_close(server, session):
    server.objects[WEB] = POD
    for _ in range(2):
        session.close()
        session.close()
        assert session.call('GET', WEB) == POD


def test_a_list_comes_in_pages(server, session):
    def page(names, token):
        metadata = {'continue': token, 'resourceVersion': '5'}
        items = [{'metadata': {'name': name}} for name in names]
        content = {'kind': 'L', 'metadata': metadata, 'items': items}
        return lambda request: request.answer(200, content)

    path = PODS.path()
    server.answers[path].extend([page('ab', 'more'), page('c', '')])
    pages = list(session.list_objects(path, {'fieldSelector': 'x!='}))
    names = [one['metadata']['name'] for p in pages for one in p['items']]
    assert names == ['a', 'b', 'c']
    first = {'fieldSelector': 'x!=', 'limit': '500'}
    assert server.asked(path) == [first, {**first, 'continue': 'more'}]


@pytest.fixture
def service_account(server, tmp_path, monkeypatch):
    """The folder that the kubelet mounts; its API server is ``server``."""
    folder = tmp_path / 'serviceaccount'
    folder.mkdir()
    (folder / 'token').write_text('first\n')
    (folder / 'ca.crt').touch()
    monkeypatch.setattr(credentials, 'SERVICE_ACCOUNT', folder)
    monkeypatch.setenv('KUBERNETES_SERVICE_HOST', '127.0.0.1')
    monkeypatch.setenv('KUBERNETES_SERVICE_PORT', str(server.server_port))
    return folder


def test_a_token_that_the_kubelet_replaced_is_used(service_account):
    found = credentials.find_credentials('', '')
    assert found.headers() == {'authorization': 'Bearer first'}
    (service_account / 'token').write_text('second')
    assert found.headers() == {'authorization': 'Bearer second'}


def test_a_service_account_has_its_own_authority(service_account, server):
    found = credentials.find_credentials('', '')
    assert found.host == f'https://127.0.0.1:{server.server_port}'
    assert found.ca_file == str(service_account / 'ca.crt')


def test_an_address_of_ipv6_is_put_in_brackets(service_account, monkeypatch):
    monkeypatch.setenv('KUBERNETES_SERVICE_HOST', 'fd00::1')
    monkeypatch.setenv('KUBERNETES_SERVICE_PORT', '443')
    assert credentials.find_credentials('', '').host == 'https://[fd00::1]:443'


@pytest.mark.parametrize('missing', ['token', 'ca.crt'])
def test_a_service_account_without_its_files(service_account, missing):
    (service_account / missing).unlink()
    with pytest.raises(exceptions.ConfigurationError, match=missing):
        KubernetesSession().call('GET', WEB)


def test_an_authority_that_is_none_is_a_configuration_error(service_account):
    (service_account / 'ca.crt').write_text('no certificate')
    with pytest.raises(exceptions.ConfigurationError, match='no access'):
        KubernetesSession().call('GET', WEB)


def write_kubeconfig(path, url, token):
    content = {
        'clusters': [{'name': 'c', 'cluster': {'server': url}}],
        'users': [{'name': 'u', 'user': {'token': token}}],
        'contexts': [{'name': 'x', 'context': {'cluster': 'c', 'user': 'u'}}],
        'current-context': 'x',
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_credentials_of_the_kubeconfig(server, tmp_path, monkeypatch):
    path = write_kubeconfig(tmp_path / 'config', server.url, 'secret')
    monkeypatch.setenv('KUBECONFIG', str(path))
    server.objects[WEB] = POD
    with contextlib.closing(KubernetesSession()) as session:
        session.call('GET', WEB)
    ((*_, headers),) = server.requests
    assert headers['authorization'] == 'Bearer secret'


def test_credentials_are_read_again_once_they_are_refused(server, tmp_path):
    """Whoever renews a kubeconfig need not restart anything."""
    path = write_kubeconfig(tmp_path / 'config', server.url, 'old')
    server.objects[WEB] = POD
    server.answers[WEB].append(lambda request: request.status(401, 'no'))
    with contextlib.closing(
        KubernetesSession(kubeconfig=str(path))
    ) as session:
        session.call('GET', WEB)
        write_kubeconfig(path, server.url, 'new')
        server.answers[WEB].append(lambda request: request.status(401, 'no'))
        assert session.call('GET', WEB) == POD
    sent = [headers['authorization'] for *_, headers in server.requests]
    assert sent == ['Bearer old'] * 3 + ['Bearer new']


@pytest.mark.parametrize('name', ['KUBECONFIG', 'KUBERNETES_SERVICE_HOST'])
def test_no_credentials(monkeypatch, name):
    monkeypatch.setenv(name, '/nowhere')
    monkeypatch.setenv('KUBERNETES_SERVICE_PORT', '443')
    with pytest.raises(exceptions.ConfigurationError) as error:
        KubernetesSession().call('GET', WEB)
    assert 'no access to the Kubernetes API' in str(error.value)
    assert 'set KUBECONFIG' in str(error.value)


def test_imports_nothing_before_first_use():
    script = (
        'import sys, kuryr_sriov.clients.kubernetes.session as module\n'
        'module.KubernetesSession()\n'
        'assert not {"kubernetes", "urllib3"} & set(sys.modules)\n'
    )
    subprocess.run([sys.executable, '-c', script], check=True, timeout=60)


def test_a_pod_does_without_the_kubernetes_package(service_account, server):
    """It would cost every node 20 MiB."""
    script = (
        'import sys\n'
        'from kuryr_sriov.clients.kubernetes import credentials, session\n'
        'from pathlib import Path\n'
        f'credentials.SERVICE_ACCOUNT = Path({str(service_account)!r})\n'
        'try:\n'
        '    session.KubernetesSession().call("GET", "/")\n'
        'except Exception as error:\n'
        '    print(type(error).__name__)\n'
        'assert "kubernetes" not in sys.modules\n'
    )
    shutil.copy(certifi.where(), service_account / 'ca.crt')
    done = subprocess.run(
        [sys.executable, '-c', script],
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    # the server of this test does not speak TLS
    assert done.stdout == 'TransientError\n'
