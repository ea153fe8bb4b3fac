# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Neutron that answers over HTTP, each time after a while.

It has what the driver asks for and no logic: what a real Neutron costs is
its own matter, and here each answer costs the same. ``tests/neutron`` is
where the driver meets the real one.
"""

from __future__ import annotations

import collections
import http.server
import itertools
import json
import math
import multiprocessing
import threading
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

LATENCY = 0.05
"""Seconds until an answer begins."""

WIRED = 1.0
"""Seconds until a port is ACTIVE, once it is said where its VF is."""

PAGE = 1000
"""Ports in one page of a list."""

HANGS = 'hangs'
"""Of this network no port can be made: its requests get no answer."""

FILTERS = 'id', 'device_id', 'device_owner', 'description', 'status'

NETWORKS = {
    'n22': ('physnet22', 3501, '10.22.0.0/16'),
    'n23': ('physnet23', 3502, '10.23.0.0/16'),
    HANGS: ('physnet22', 3503, '10.24.0.0/16'),
}


def subnet_of(network: str) -> str:
    """Id of a network's only subnet."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, network))


class _Neutron:
    """Ports, and what was asked for."""

    def __init__(self) -> None:
        self.ports: dict[str, dict[str, Any]] = {}
        self.devices: dict[str, set[str]] = collections.defaultdict(set)
        self.wired: dict[str, float] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()
        self._numbers = itertools.count(2)
        self.subnets = {subnet_of(name): name for name in NETWORKS}

    def make_port(self, asked: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            number = next(self._numbers)
        network = asked['network_id']
        _physnet, vlan, cidr = NETWORKS[network]
        prefix = '.'.join(cidr.split('.')[:2])
        high, low = divmod(number % 65534 + 1, 256)
        octets = number.to_bytes(3, 'big').hex(':')
        port = {
            **asked,
            'id': str(uuid.uuid4()),
            'mac_address': f'fa:16:3e:{octets}',
            'fixed_ips': [
                {
                    'subnet_id': subnet_of(network),
                    'ip_address': f'{prefix}.{high}.{low}',
                }
            ],
            'binding:vif_type': 'hw_veb',
            'binding:vif_details': {'vlan': str(vlan)},
            'binding:profile': {},
            'status': 'DOWN',
            'created_at': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
            'revision_number': 1,
        }
        with self.lock:
            self.ports[port['id']] = port
            self.devices[port['device_id']].add(port['id'])
        return port

    def update_port(self, id: str, changes: dict[str, Any]) -> dict[str, Any]:
        """The port, of which its agent hears now."""
        port = self.ports[id]
        port.update(changes, revision_number=2)
        self.wired[id] = time.monotonic() + WIRED
        return port

    def delete_port(self, id: str) -> None:
        with self.lock:
            port = self.ports.pop(id)
            self.devices[port['device_id']].discard(id)

    def list_ports(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """A page of those that match, in the order of their ids."""
        wanted = {key: query[key] for key in FILTERS if key in query}
        (marker,) = query.get('marker', [''])
        with self.lock:
            ids: Iterable[str] = self.ports
            if 'id' in query:
                ids = query['id']
            elif 'device_id' in query:
                ids = {
                    i for uid in query['device_id'] for i in self.devices[uid]
                }
            ids = sorted(ids)
        found = [
            port
            for port in map(self._look_at, ids)
            if port and port['id'] > marker
            if all(port.get(key) in values for key, values in wanted.items())
        ]
        page = found[:PAGE]
        answer: dict[str, Any] = {'ports': page}
        if len(found) > PAGE:
            more = urllib.parse.urlencode(
                {**query, 'marker': page[-1]['id'], 'limit': PAGE}, doseq=True
            )
            link = {'rel': 'next', 'href': f'http://here/v2.0/ports?{more}'}
            answer['ports_links'] = [link]
        return answer

    def _look_at(self, id: str) -> dict[str, Any] | None:
        """The port as it is by now; None where it is gone."""
        port = self.ports.get(id)
        if port and time.monotonic() > self.wired.get(id, math.inf):
            port['status'] = 'ACTIVE'
        return port

    def show(self, collection: str, id: str) -> dict[str, Any]:
        """One object, in Neutron's form."""
        if collection == 'ports':
            return {'port': self._look_at(id) or self.ports[id]}
        if collection == 'subnets':
            network = self.subnets[id]
            return {
                'subnet': {
                    'id': id,
                    'network_id': network,
                    'cidr': NETWORKS[network][2],
                    'gateway_ip': None,
                }
            }
        physnet, vlan, _cidr = NETWORKS[id]
        return {
            'network': {
                'id': id,
                'mtu': 1500,
                'provider:network_type': 'vlan',
                'provider:physical_network': physnet,
                'provider:segmentation_id': vlan,
            }
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True
    neutron: ClassVar[_Neutron]

    def _answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get('Content-Length') or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        if url.path == '/counts':
            self._send(200, dict(self.neutron.counts))
            return
        words = url.path.removeprefix('/v2.0').strip('/').split('/')
        self.neutron.counts[f'{self.command} {words[0]}'] += 1
        time.sleep(LATENCY)
        try:
            query = urllib.parse.parse_qs(url.query)
            status, answer = self._do(words, query, body)
        except KeyError:
            status, answer = 404, {'NeutronError': {'type': 'NotFound'}}
        self._send(status, answer)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def _do(
        self, words: list[str], query: dict[str, list[str]], body: Any
    ) -> tuple[int, Any]:
        neutron = self.neutron
        if words == ['']:
            root = f'http://{self.headers["Host"]}/v2.0/'
            link = {'rel': 'self', 'href': root}
            version = {'id': 'v2.0', 'status': 'CURRENT', 'links': [link]}
            return 200, {'versions': [version]}
        if self.command == 'POST':
            for asked in body['ports']:
                if asked['network_id'] == HANGS:
                    time.sleep(3600)
            made = [neutron.make_port(asked) for asked in body['ports']]
            return 201, {'ports': made}
        if self.command == 'PUT':
            return 200, {'port': neutron.update_port(words[1], body['port'])}
        if self.command == 'DELETE':
            neutron.delete_port(words[1])
            return 204, None
        if len(words) == 1:
            return 200, neutron.list_ports(query)
        return 200, neutron.show(*words)

    def _send(self, status: int, answer: Any) -> None:
        data = b'' if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _serve(told: Any) -> None:
    _Handler.neutron = _Neutron()
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
    told.send(server.server_port)
    server.serve_forever()


class NeutronStandIn:
    """One in a process of its own; a context manager.

    :ivar url: of its API.
    """

    def __enter__(self) -> NeutronStandIn:
        context = multiprocessing.get_context('spawn')
        mine, its = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(its,), daemon=True
        )
        self._process.start()
        self._root = f'http://127.0.0.1:{mine.recv()}'
        self.url = f'{self._root}/v2.0'
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def counts(self) -> dict[str, int]:
        """Requests so far, such as ``POST ports``."""
        with urllib.request.urlopen(f'{self._root}/counts') as answer:
            found: dict[str, int] = json.load(answer)
        return found
