# SPDX-License-Identifier: Apache-2.0
"""An API server over HTTP, of which a test decides every answer."""

import collections
import contextlib
import http.server
import json
import threading
import urllib.parse

import pytest
from guards import guard

from kuryr_sriov.clients.kubernetes.session import KubernetesSession


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
    """Objects by path: GET, merge patch (uid is a precondition), apply.

    :ivar answers: by path, functions that answer the next requests in
        place of the objects; each is called with the handler.
    :ivar requests: method, path, query and headers of each request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server_port}'
        self.objects = {}
        self.answers = collections.defaultdict(collections.deque)
        self.refusal = None
        self.requests = []

    def asked(self, path):
        """The queries of the requests for that path so far."""
        return [query for _, asked, query, _ in self.requests if asked == path]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        path, _ = self.requested()
        if self.server.answers[path]:
            self.server.answers[path].popleft()(self)
        elif not self.refused():
            self.answer(200, self.server.objects[path])

    def do_DELETE(self):
        path, _ = self.requested()
        if not self.refused():
            self.answer(200, self.server.objects.pop(path))

    def do_PATCH(self):
        path, body = self.requested()
        if self.headers['Content-Type'] == 'application/apply-patch+yaml':
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
        data = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        path, _, text = self.path.partition('?')
        query = dict(urllib.parse.parse_qsl(text))
        self.server.requests.append(
            (self.command, path, query, dict(self.headers))
        )
        return path, json.loads(data or b'null')

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

    def begin_stream(self):
        """The head of a watch's answer."""
        self.send_response(200)
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()

    def send_event(self, event):
        data = json.dumps(event).encode() + b'\n'
        self.wfile.write(b'%x\r\n%b\r\n' % (len(data), data))

    def end_stream(self):
        self.wfile.write(b'0\r\n\r\n')

    def hang_up(self):
        """End the connection, whatever has been answered."""
        self.close_connection = True


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
def session(server):
    with contextlib.closing(
        guard(KubernetesSession(server.url, timeout=5.0), '_connected')
    ) as opened:
        yield opened
