# SPDX-License-Identifier: Apache-2.0
"""An API server over HTTP that keeps objects in memory, for any kind."""

import contextlib
import http.server
import itertools
import json
import threading
import urllib.parse
from http import HTTPStatus

LEASES = '/apis/coordination.k8s.io/v1', 'leases'
NADS = '/apis/k8s.cni.cncf.io/v1', 'network-attachment-definitions'
EVENTS = '/apis/events.k8s.io/v1', 'events'
PODS = '/api/v1', 'pods'
PORTS = '/apis/openstack.org/v1', 'kuryrsriovports'


class MemoryApi(http.server.ThreadingHTTPServer):
    """Objects, their patches and watches, as the API concepts have them.

    :ivar calls: method, path and query of each request so far.
    :ivar refusals: by the name of an object, or else of a kind: how many of
        the next requests for it are answered with 503.
    :ivar before: by method and kind, what is called before the answer.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Requests)
        self.url = f'http://127.0.0.1:{self.server_port}'
        self.calls = []
        self.refusals = {}
        self.before = {}
        self.changed = threading.Condition()
        self.history = []
        self.over = False
        self._objects = {}
        self._versions = itertools.count(1)
        uid = {'name': 'kube-system', 'uid': 'uid-cluster'}
        self.put(('/api/v1', 'namespaces', '', 'kube-system'), {}, **uid)

    @contextlib.contextmanager
    def serving(self):
        """It answers; every watch ends with it."""
        thread = threading.Thread(
            target=self.serve_forever, kwargs={'poll_interval': 0.01}
        )
        thread.start()
        try:
            yield self
        finally:
            with self.changed:
                self.over = True
                self.changed.notify_all()
            self.shutdown()
            thread.join()
            self.server_close()

    def get(self, key):
        """The object of ``(prefix, plural, namespace, name)``, or None."""
        with self.changed:
            return self._objects.get(key)

    def queries(self, path):
        """Of the requests for that path so far."""
        return [query for _, asked, query in self.calls if asked == path]

    def list(self, kind):
        """All objects of ``(prefix, plural)``."""
        with self.changed:
            return [o for key, o in self._objects.items() if key[:2] == kind]

    def put(self, key, body, **metadata):
        """Make or replace an object; it as it is then."""
        with self.changed:
            version = str(next(self._versions))
            made = {
                'namespace': key[2],
                'name': key[3],
                'uid': f'uid of {key[1]} {key[3]}',
            }
            held = body.get('metadata', {})
            body = {
                'kind': 'Object',
                **body,
                'metadata': {
                    **made,
                    **held,
                    **metadata,
                    'resourceVersion': version,
                },
            }
            kind = 'MODIFIED' if key in self._objects else 'ADDED'
            self._objects[key] = body
            self._tell(kind, key, body)
            return body

    def delete(self, key):
        """Delete it, or mark it where finalizers keep it; what is left."""
        with self.changed:
            body = self._objects[key]
            if body['metadata'].get('finalizers'):
                return self.put(key, body, deletionTimestamp='now')
            del self._objects[key]
            metadata = {
                **body['metadata'],
                'resourceVersion': str(next(self._versions)),
            }
            self._tell('DELETED', key, {**body, 'metadata': metadata})
            return {'kind': 'Status', 'status': 'Success'}

    def patch(self, key, patch):
        """Merge it in; the object goes where it was to go by now."""
        with self.changed:
            body = self.put(key, merge(self._objects.get(key, {}), patch))
            metadata = body['metadata']
            if 'deletionTimestamp' in metadata and not metadata['finalizers']:
                self.delete(key)
            return body

    def _tell(self, kind, key, body):
        self.history.append((key[:2], {'type': kind, 'object': body}))
        self.changed.notify_all()

    def wait_for_news(self, begin):
        """What has changed since ``begin``; empty once the server ends."""
        with self.changed:
            self.changed.wait_for(
                lambda: self.over or len(self.history) > begin
            )
            return [] if self.over else self.history[begin:]

    def version(self):
        """Of the newest change."""
        with self.changed:
            return self.history[-1][1]['object']['metadata']['resourceVersion']


def merge(target, patch):
    """RFC 7386; conditions are a map by their type, as the CRD says."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif key == 'conditions':
            both = [*result.get(key, ()), *value]
            result[key] = [*{one['type']: one for one in both}.values()]
        else:
            result[key] = merge(result.get(key), value)
    return result


class Requests(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = 'HTTP/1.1'

    def log_message(self, *arguments):
        pass

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        length = int(self.headers.get('Content-Length', 0))
        body = json.loads(self.rfile.read(length) or b'null')
        self.server.calls.append((self.command, url.path, query))
        key = parse_path(url.path)
        self.server.before.get((self.command, key[1]), lambda: None)()
        if self.server.refusals.get(key[3] or key[1]):
            self.server.refusals[key[3] or key[1]] -= 1
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        elif self.command == 'GET' and not key[3]:
            self.list_or_watch(key[:2], query)
        else:
            with self.server.changed:
                self.change(key, body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def change(self, key, body):
        held = self.server.get(key)
        if self.command == 'POST':
            name = body['metadata']['name']
            self.send(self.server.put((*key[:3], name), body))
        elif self.command == 'PATCH' and (held or 'spec' in body):
            self.send(self.server.patch(key, body))
        elif held is None:
            self.refuse(HTTPStatus.NOT_FOUND)
        elif self.command == 'GET':
            self.send(held)
        elif self.command == 'DELETE':
            self.send(self.server.delete(key))
        elif version_of(body) != version_of(held):
            self.refuse(HTTPStatus.CONFLICT)
        else:
            self.send(self.server.put(key, body))

    def list_or_watch(self, kind, query):
        if 'watch' in query:
            self.watch(kind, int(query['resourceVersion']))
            return
        with self.server.changed:
            items = self.server.list(kind)
            metadata = {'resourceVersion': self.server.version()}
        self.send({'kind': 'List', 'metadata': metadata, 'items': items})

    def watch(self, kind, version):
        self.send_response(HTTPStatus.OK)
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        begin = 0
        with contextlib.suppress(OSError):  # whoever listened has gone
            while news := self.server.wait_for_news(begin):
                begin += len(news)
                for of, event in news:
                    told = int(version_of(event['object']))
                    if of == kind and told > version:
                        self.send_chunk(json.dumps(event).encode() + b'\n')
            self.send_chunk(b'')

    def send_chunk(self, data):
        self.wfile.write(b'%x\r\n%b\r\n' % (len(data), data))

    def refuse(self, status):
        self.send({'kind': 'Status', 'message': status.phrase}, status)

    def send(self, body, status=HTTPStatus.OK):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def version_of(body):
    return body['metadata'].get('resourceVersion')


def parse_path(path):
    """Prefix, plural, namespace and name; a part such as status is dropped."""
    words = path.strip('/').split('/')
    split = 2 if words[0] == 'api' else 3
    prefix, rest = '/' + '/'.join(words[:split]), words[split:]
    namespace = ''
    if rest[0] == 'namespaces' and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    return prefix, rest[0], namespace, rest[1] if len(rest) > 1 else ''
