# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes client, against a server that speaks the API over HTTP."""

import contextlib
import copy
import http.server
import json
import socket
import subprocess
import sys
import threading

import pytest
import yaml

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients.kubernetes import Kubernetes
from kuryr_sriov.npwg import status

POD = model.Pod('ns', 'web', 'uid-web', 'node-1')
VIF = model.Vif(
    'id',
    'net1',
    'ns/nad',
    'intel.com/a',
    'physnet22',
    'fa:16:3e:00:00:01',
    addresses=('192.168.2.2/24',),
    routes=(model.Route('10.0.0.0/8'),),
)
NAD = '/apis/k8s.cni.cncf.io/v1/namespaces/ns/network-attachment-definitions/'
WEB = '/api/v1/namespaces/ns/pods/web'
PORT = '/apis/openstack.org/v1/namespaces/ns/kuryrsriovports/uid-web'


def merged(target, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merged(target.get(key), value)
    return target


class ApiServer(http.server.ThreadingHTTPServer):
    """Objects by path: GET, merge patch (uid is a precondition), apply."""

    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server_port}'
        self.objects = {}
        self.refusal = None
        self.requests = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.requested()
        if not self.refused():
            self.answer(200, self.server.objects[self.path])

    def do_PATCH(self):
        body = json.loads(self.requested())
        path, _, query = self.path.partition('?')
        if self.headers['Content-Type'] == 'application/apply-patch+yaml':
            assert query == 'fieldManager=kuryr-sriov&force=true'
            self.server.objects.setdefault(path, {'kind': body['kind']})
        if self.refused():
            return
        path = path.removesuffix('/status')
        found = self.server.objects[path]
        uid = found.get('metadata', {}).get('uid')
        if body['metadata'].get('uid', uid) != uid:
            causes = [{'field': 'metadata.uid', 'reason': 'FieldValueInvalid'}]
            self.status(422, 'is immutable', details={'causes': causes})
            return
        if self.headers['Content-Type'] == 'application/merge-patch+json':
            self.server.objects[path] = merged(found, body)
        else:
            self.server.objects[path] = body
        self.answer(200, self.server.objects[path])

    def requested(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.server.requests.append((self.command, dict(self.headers)))
        return body

    def refused(self):
        path = self.path.partition('?')[0].removesuffix('/status')
        if self.server.refusal:
            self.status(*self.server.refusal)
        elif path not in self.server.objects:
            self.status(404, 'not found')
        else:
            return False
        return True

    def status(self, code, message, details=None, **headers):
        answer = {'kind': 'Status', 'status': 'Failure', 'message': message}
        self.answer(code, answer | {'details': details}, **headers)

    def answer(self, code, content, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content)
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(code)
        self.send_header('Content-Length', str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch):
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'kubeconfig'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv('KUBERNETES_SERVICE_HOST', raising=False)


@pytest.fixture
def server():
    with ApiServer() as api:
        thread = threading.Thread(
            target=api.serve_forever, kwargs={'poll_interval': 0.01}
        )
        thread.start()
        yield api
        api.shutdown()
        thread.join()


@pytest.fixture
def client(server):
    with contextlib.closing(Kubernetes(server.url, timeout=5.0)) as client:
        yield client


def test_nad(server, client):
    nad = {'kind': 'NetworkAttachmentDefinition', 'metadata': {'name': 'a'}}
    server.objects[NAD + 'a'] = nad
    assert client.get_nad('ns', 'a') == nad


def test_no_nad(client):
    with pytest.raises(exceptions.InvalidAnnotation) as error:
        client.get_nad('ns', 'a')
    assert str(error.value) == (
        'there is no NetworkAttachmentDefinition ns/a (not found); create '
        'it, or correct the networks annotation'
    )


def test_name_cannot_leave_its_place(server, client):
    server.objects['/api/v1/secret'] = {'kind': 'Secret'}
    with pytest.raises(exceptions.InvalidAnnotation):
        client.get_nad('ns', '../../../../../../../api/v1/secret')


def test_network_status_leaves_other_annotations_alone(server, client):
    metadata = {'uid': 'uid-web', 'annotations': {'theirs': 'kept'}}
    server.objects[WEB] = {'kind': 'Pod', 'metadata': metadata, 'status': {}}
    before = copy.deepcopy(server.objects[WEB])
    client.patch_network_status(POD, [{'name': 'ns/nad'}])
    before['metadata']['annotations'][status.NETWORK_STATUS] = (
        '[{"name": "ns/nad"}]'
    )
    assert server.objects[WEB] == before
    assert [method for method, _ in server.requests] == ['PATCH']


def test_network_status_is_not_for_another_pod_of_that_name(server, client):
    server.objects[WEB] = {'kind': 'Pod', 'metadata': {'uid': 'uid-next'}}
    with pytest.raises(exceptions.PermanentError, match='pod ns/web is gone'):
        client.patch_network_status(POD, [])
    assert server.objects[WEB]['metadata'] == {'uid': 'uid-next'}


def test_network_status_of_a_pod_that_is_gone(client):
    with pytest.raises(exceptions.PermanentError, match='pod ns/web is gone'):
        client.patch_network_status(POD, [])


def test_vifs_reach_the_node(server, client):
    client.publish(POD, [VIF])
    assert client.vifs_of(POD) == (VIF,)
    port = server.objects[PORT]
    assert port['apiVersion'] == 'openstack.org/v1'
    assert port['metadata']['ownerReferences'][0]['uid'] == 'uid-web'
    assert port['spec']['podNodeName'] == 'node-1'


def test_published_again(client):
    client.publish(POD, [VIF])
    client.publish(POD, [])
    assert client.vifs_of(POD) == ()


def test_not_yet_published(client):
    with pytest.raises(exceptions.TransientError) as error:
        client.vifs_of(POD)
    assert 'no VIFs of pod ns/web are published' in str(error.value)
    assert error.value.retry_after == 1.0


@pytest.mark.parametrize('spec', [None, {'spec': {'vifs': [{'id': 1}]}}])
def test_published_by_something_else(server, client, spec):
    server.objects[PORT] = {'kind': 'KuryrSriovPort', **(spec or {})}
    with pytest.raises(exceptions.PermanentError) as error:
        client.vifs_of(POD)
    assert 'KuryrSriovPort ns/uid-web cannot be read' in str(error.value)


def test_no_custom_resource_definition(server, client):
    server.refusal = 404, 'the server could not find the requested resource'
    with pytest.raises(exceptions.PermanentError, match='apply etc/kubern'):
        client.publish(POD, [VIF])


@pytest.mark.parametrize('code', [409, 429, 500, 503])
def test_worth_a_retry(server, client, code):
    server.refusal = code, 'not now'
    with pytest.raises(exceptions.TransientError) as error:
        client.get_nad('ns', 'a')
    assert f'GET {server.url}{NAD}a: not now' in str(error.value)
    assert error.value.retry_after == 5.0
    assert len(server.requests) == 1


def test_retry_after(server, client, monkeypatch):
    monkeypatch.setattr(
        Handler,
        'do_GET',
        lambda self: self.status(429, 'slow down', Retry_After='30'),
    )
    with pytest.raises(exceptions.TransientError) as error:
        client.get_nad('ns', 'a')
    assert error.value.retry_after == 30.0


@pytest.mark.parametrize(
    ('code', 'remedy'),
    [
        (400, 'see whether this is the address of an API server'),
        (401, 'renew the credentials'),
        (403, 'bind the roles of etc/kubernetes/rbac.yaml'),
    ],
)
def test_not_worth_a_retry(server, client, code, remedy):
    server.refusal = code, 'never'
    with pytest.raises(exceptions.PermanentError) as error:
        client.publish(POD, [VIF])
    assert f'PATCH {server.url}{PORT}' in str(error.value)
    assert str(error.value).endswith(f': never; {remedy}')


@pytest.mark.parametrize('body', [b'<html>', b'[]', b'{}', b'\xff'])
def test_no_api_server(client, monkeypatch, body):
    monkeypatch.setattr(Handler, 'do_GET', lambda self: self.answer(200, body))
    with pytest.raises(exceptions.PermanentError, match='HTTP status 200'):
        client.get_nad('ns', 'a')


def test_unreachable():
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{unused.getsockname()[1]}'
        with (
            contextlib.closing(Kubernetes(url)) as client,
            pytest.raises(exceptions.TransientError, match='no answer'),
        ):
            client.get_nad('ns', 'a')


def test_no_answer_in_time(server, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(Handler, 'do_GET', lambda self: go_on.wait(30))
    with (
        contextlib.closing(Kubernetes(server.url, timeout=0.05)) as client,
        pytest.raises(exceptions.TransientError, match='timed out'),
    ):
        client.get_nad('ns', 'a')
    go_on.set()


def test_usable_after_close(server, client):
    client.publish(POD, [VIF])
    client.close()
    client.close()
    assert client.vifs_of(POD) == (VIF,)


def test_credentials_of_the_kubeconfig(server, tmp_path, monkeypatch):
    path = tmp_path / 'config'
    path.write_text(
        yaml.safe_dump(
            {
                'clusters': [{'name': 'c', 'cluster': {'server': server.url}}],
                'users': [{'name': 'u', 'user': {'token': 'secret'}}],
                'contexts': [
                    {'name': 'x', 'context': {'cluster': 'c', 'user': 'u'}}
                ],
                'current-context': 'x',
            }
        )
    )
    monkeypatch.setenv('KUBECONFIG', str(path))
    with contextlib.closing(Kubernetes()) as client:
        client.publish(POD, [VIF])
    (request,) = server.requests
    assert request[1]['authorization'] == 'Bearer secret'


@pytest.mark.parametrize('name', ['KUBECONFIG', 'KUBERNETES_SERVICE_HOST'])
def test_no_credentials(monkeypatch, name):
    monkeypatch.setenv(name, '/nowhere')
    monkeypatch.setenv('KUBERNETES_SERVICE_PORT', '443')
    with pytest.raises(exceptions.ConfigurationError) as error:
        Kubernetes().get_nad('ns', 'a')
    assert 'no access to the Kubernetes API' in str(error.value)
    assert 'set KUBECONFIG' in str(error.value)


def test_imports_nothing_before_first_use():
    script = (
        'import sys, kuryr_sriov.clients.kubernetes as module\n'
        'module.Kubernetes()\n'
        'assert not {"kubernetes", "urllib3"} & set(sys.modules)\n'
    )
    subprocess.run([sys.executable, '-c', script], check=True, timeout=60)
