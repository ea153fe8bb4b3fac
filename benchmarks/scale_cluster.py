# SPDX-License-Identifier: Apache-2.0
"""Thousands of pods on an API server, and what the controller makes of them.

The API server and its etcd are real; kubelets and nodes there are none.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import os
import pathlib
import re
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

ROOT = pathlib.Path(__file__).parent.parent
TESTS = ROOT / 'tests'
sys.path[:0] = [str(ROOT), str(TESTS), str(TESTS / 'kubernetes')]

from daemons import MERGE, NETWORKS, report  # noqa: E402
from kubelab.cluster import PORTS, Cluster, place  # noqa: E402
from kubelab.controllers import Replica  # noqa: E402
from servers import wait_for  # noqa: E402

from kuryr_sriov import (  # noqa: E402
    Kubernetes,
    KubernetesSession,
    PortObject,
)
from kuryr_sriov.clients.kubernetes.portobject import (  # noqa: E402
    read_port_object,
)

T = TypeVar('T')

SECONDS = 1800.0
"""For thousands of pods, on a busy machine."""

LEASE = 60
"""Seconds, four times the default: the machine has everything else to do."""

PAUSE = 1.0
"""Seconds between two questions, which cost the controller processor time."""

NODES = 200
THREADS = 8
TICKS = os.sysconf('SC_CLK_TCK')
PODS = place('Pod')

# What a pod's object holds besides: 3 KB here, which the controller reads
# in each event and does not keep.
ENVIRONMENT = [
    {'name': f'SETTING_{number}', 'value': 'x' * 60} for number in range(30)
]


def pod_body(name: str, number: int, networks: str) -> dict[str, Any]:
    """A pod with two VIFs, on one of the nodes."""
    devices = {'intel.com/physnet22': '1', 'intel.com/physnet23': '1'}
    container = {
        'name': 'c',
        'image': 'nginx:1.29',
        'env': ENVIRONMENT,
        'resources': {'requests': devices, 'limits': devices},
    }
    return {
        'apiVersion': 'v1',
        'kind': 'Pod',
        'metadata': {'name': name, 'annotations': {NETWORKS: networks}},
        'spec': {
            'nodeName': f'node{number % NODES:03}',
            'containers': [container],
        },
    }


class Crowd:
    """Makes, changes and deletes many objects, by several connections."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(THREADS)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """What the API server answers, on this thread's connection."""
        try:
            return self._call_once(method, path, body)
        except (ConnectionError, ssl.SSLEOFError):
            # The API server has closed it, for it was idle.
            del self._local.connection
            return self._call_once(method, path, body)

    def _call_once(self, method: str, path: str, body: Any) -> Any:
        if not hasattr(self._local, 'connection'):
            context = ssl.create_default_context(cafile=self.cluster.ca)
            self._local.connection = http.client.HTTPSConnection(
                '127.0.0.1', self.cluster.port, context=context, timeout=120
            )
        headers = {
            'Authorization': 'Bearer admin',
            'Content-Type': MERGE if method == 'PATCH' else 'application/json',
        }
        connection = self._local.connection
        # With a body, even "null", the query of a deletion is ignored.
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        told = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f'{method} {path}: {told.decode()[:500]}')
        return json.loads(told)

    def do(self, what: Callable[[T], Any], items: Iterable[T]) -> float:
        """Seconds for all of them."""
        began = time.monotonic()
        for _ in self._pool.map(what, items):
            pass
        return time.monotonic() - began

    def make_pods(
        self, names: list[str], networks: str = 'net22,net23'
    ) -> None:
        """On all nodes in turn."""

        def make(item: tuple[int, str]) -> None:
            number, name = item
            self.call('POST', PODS, pod_body(name, number, networks))

        self.do(make, enumerate(names))

    def touch_pods(self, names: list[str]) -> None:
        """Change them in a way that is nothing to us."""
        now = {'metadata': {'labels': {'touched': str(time.monotonic_ns())}}}
        self.do(lambda name: self.call('PATCH', f'{PODS}/{name}', now), names)

    def delete_pods(self, names: list[str]) -> None:
        """At once, as a kubelet does in the end."""
        path = f'{PODS}/{{}}?gracePeriodSeconds=0'
        self.do(lambda name: self.call('DELETE', path.format(name)), names)

    def list_ports(self) -> Iterator[dict[str, Any]]:
        """All port objects, page by page."""
        following = ''
        while True:
            page = self.call('GET', f'{PORTS}?limit=500{following}')
            yield from page['items']
            following = page['metadata'].get('continue', '')
            if not following:
                return
            following = f'&continue={following}'

    def count_active(self) -> int:
        """Port objects that say that traffic flows."""
        return sum(
            any(
                (one['type'], one['status']) == ('Active', 'True')
                for one in body.get('status', {}).get('conditions', ())
            )
            for body in self.list_ports()
        )

    def report_attached(self) -> None:
        """What the nodes' daemons report: each pod's VFs are in place."""
        config = str(self.cluster.kubeconfig('admin'))
        ports = [read_port_object(body) for body in self.list_ports()]
        session = KubernetesSession(kubeconfig=config)
        with contextlib.closing(session):
            node = Kubernetes(session)
            slots: collections.Counter[str] = collections.Counter()
            places = []
            for port in ports:
                # unlike those of all other pods on its node
                slots[port.pod.node] += 1
                bus, rest = divmod(slots[port.pod.node], 248)
                places.append(
                    [
                        f'0000:{2 * bus + each:02x}:{rest // 8:02x}.{rest % 8}'
                        for each in range(2)
                    ]
                )

            def tell(item: tuple[PortObject, list[str]]) -> None:
                port, vfs = item
                report(node, port, pcis=vfs)

            self.do(tell, zip(ports, places, strict=True))

    def requests(self) -> collections.Counter[str]:
        """What the API server has answered so far, by verb and resource.

        The reads of metrics and leases are left out.
        """
        connection = http.client.HTTPSConnection(
            '127.0.0.1',
            self.cluster.port,
            context=ssl.create_default_context(cafile=self.cluster.ca),
        )
        connection.request(
            'GET', '/metrics', headers={'Authorization': 'Bearer admin'}
        )
        found: collections.Counter[str] = collections.Counter()
        for line in connection.getresponse().read().decode().splitlines():
            if not line.startswith('apiserver_request_total{'):
                continue
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if labels['resource'] in OURS:
                what = f'{labels["verb"]} {labels["resource"]}'
                part = labels['subresource']
                found[f'{what}/{part}' if part else what] += int(
                    float(line.split()[-1])
                )
        connection.close()
        return found


OURS = 'pods', 'events', 'kuryrsriovports', 'network-attachment-definitions'
WRITES = 'POST', 'PUT', 'PATCH', 'APPLY', 'DELETE'


def is_write(what: str) -> bool:
    """Whether a request of that kind changes something."""
    return what.split()[0] in WRITES


class MeasuredReplica(Replica):
    """One that asks the API server itself, with what it costs.

    :param driver: its part of kuryr.conf.
    """

    def __init__(
        self, cluster: Cluster, folder: pathlib.Path, name: str, driver: str
    ) -> None:
        daemon = f"""
[sriov_daemon]
kubeconfig = {cluster.kubeconfig('controller')}
[sriov_controller]
lease_duration = {LEASE}
http_host = 127.0.0.1
http_port = 0
"""
        super().__init__(cluster, folder, name, driver + daemon)

    def gauge(self, name: str) -> float | None:
        """None where a busy machine lets it not answer in time."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f'{self.name} has ended:\n{self.tail()}')
        try:
            return self.metric(f'kuryr_sriov_controller_{name}')
        except ValueError:
            return None

    def cpu(self) -> float:
        """Seconds of processor time so far; none before it starts."""
        if self._process is None:
            return 0.0
        text = pathlib.Path(f'/proc/{self.pid}/stat').read_text()
        words = text.rpartition(')')[2].split()
        return (int(words[11]) + int(words[12])) / TICKS

    def rss(self) -> float:
        """MiB of memory that it has had at most."""
        text = pathlib.Path(f'/proc/{self.pid}/status').read_text()
        (kib,) = re.findall(r'VmHWM:\s+(\d+) kB', text)
        return int(kib) / 1024

    def wait_ports(self, count: int) -> None:
        """Return once it knows so many port objects, and nothing is due."""
        wait_for(
            lambda: (
                self.gauge('port_objects') == count
                and self.gauge('queue_depth') == 0
            ),
            SECONDS,
            f'{count} port objects',
            PAUSE,
        )
