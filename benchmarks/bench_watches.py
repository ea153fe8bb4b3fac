# SPDX-License-Identifier: Apache-2.0
"""What the API server spends on each write while many nodes watch.

Each node daemon watches the port objects of its own node. The API server looks
at every change for each of them. Here they are idle connections, of nodes that
have no pod; the writes are the controller's and a node's.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import ssl
import sys
import tempfile
import time
import uuid

from measured import describe_run
from scale_cluster import Crowd

# scale_cluster has said where these are
from kubelab.cluster import PORTS, Cluster  # isort: skip

from kuryr_sriov import Condition, Kubernetes, KubernetesSession, Pod

WATCHES = 0, 500, 1000, 2000
WRITES = 600
IDLE = 50.0
"""Milliseconds of processor time in a second that are none."""
SINCE = '2026-01-01T00:00:00Z'
PODS = 200
RESULTS = pathlib.Path(__file__).parent / 'results' / 'watches.json'


def spent_by(cluster: Cluster) -> float:
    """Milliseconds of processor time of the API server so far."""
    stat = pathlib.Path(f'/proc/{cluster.api.pid}/stat').read_text()
    words = stat.rpartition(')')[2].split()
    ticks = int(words[11]) + int(words[12])
    return ticks / os.sysconf('SC_CLK_TCK') * 1000


def wait_idle(cluster: Cluster) -> None:
    """Return once a server that has just started is done with itself."""
    end = time.monotonic() + 120
    before = 0.0
    while (now := spent_by(cluster)) > before + IDLE:
        assert time.monotonic() < end, 'the API server is never idle'
        before = now
        time.sleep(1)


def open_watch(cluster: Cluster, number: int) -> socket.socket:
    """That of a node daemon, up to the head of its answer."""
    context = ssl.create_default_context(cafile=cluster.ca)
    plain = socket.create_connection(('127.0.0.1', cluster.port), timeout=60)
    connection = context.wrap_socket(plain, server_hostname='127.0.0.1')
    everywhere = PORTS.replace('/namespaces/default', '')
    connection.sendall(
        f'GET {everywhere}?watch=1&allowWatchBookmarks=true'
        f'&fieldSelector=spec.podNodeName%3Didle{number:05} HTTP/1.1\r\n'
        'Host: here\r\nAuthorization: Bearer admin\r\n\r\n'.encode()
    )
    head = connection.recv(4096)
    assert head.startswith(b'HTTP/1.1 200'), head[:300]
    return connection


def measure(cluster: Cluster) -> list[dict[str, float]]:
    """Cost of a write, for each number of watches."""
    crowd = Crowd(cluster)
    session = KubernetesSession(kubeconfig=str(cluster.kubeconfig('admin')))
    controller = Kubernetes(session)
    pods = [
        Pod('default', f'p{n}', str(uuid.uuid4()), f'n{n}')
        for n in range(PODS)
    ]
    crowd.do(lambda pod: controller.publish(pod, ()), pods)
    said = iter(range(WRITES * len(WATCHES) + PODS))

    def write(pod: Pod) -> None:
        verdict = Condition(
            'True', 'Any', str(next(said)), '2026-01-01T00:00:00Z'
        )
        controller.record(pod, {'Active': verdict}, {})

    crowd.do(write, pods)
    wait_idle(cluster)
    rows = []
    with contextlib.ExitStack() as stack:
        stack.callback(session.close)
        opened = 0
        for count in WATCHES:
            for number in range(opened, count):
                stack.enter_context(open_watch(cluster, number))
            opened = count
            before = spent_by(cluster)
            seconds = crowd.do(write, (pods * 3)[:WRITES])
            spent = (spent_by(cluster) - before) / WRITES
            rows.append(
                {
                    'watches': count,
                    'cpu_ms_per_write': spent,
                    'seconds': seconds,
                }
            )
    return rows


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as name,
        Cluster(pathlib.Path(name)) as cluster,
    ):
        rows = measure(cluster)
    print('watches   processor time of the API server, ms a write')
    for row in rows:
        print(f'{row["watches"]:7}{row["cpu_ms_per_write"]:16.2f}')
    RESULTS.parent.mkdir(exist_ok=True)
    results = {'measured': describe_run(), 'rows': rows}
    RESULTS.write_text(json.dumps(results, indent=1) + '\n')
    print(f'as JSON: {RESULTS}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
