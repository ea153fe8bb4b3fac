# SPDX-License-Identifier: Apache-2.0
"""The example of a host: pod events in, CNI requests served."""

import http.client
import importlib.util
import json
import queue
import threading
from concurrent import futures
from pathlib import Path

import pytest

from kuryr_sriov.cmd.demo import howto_files
from kuryr_sriov.testing.simulation.kubelet import Kubelet
from kuryr_sriov.testing.simulation.simulated_node import SimulatedNode

EXAMPLE = Path(__file__).parents[2] / 'examples' / 'host-daemon' / 'daemon.py'
PODS = 6


@pytest.fixture(scope='module')
def example():
    spec = importlib.util.spec_from_file_location('host_daemon', EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Cluster:
    """A node, its kubelet, and pods by number."""

    def __init__(self, folder):
        self.files = howto_files.read_howto(howto_files.default_folder())
        self.node = SimulatedNode(folder / 'node', self.files.pfs())
        (folder / 'kube').mkdir()
        self.kubelet = Kubelet(folder / 'kube')
        more = folder / 'more.conf'
        more.write_text('[sriov]\norphan_grace = 0\n')
        self.conf = self.files.conf(folder, more)

    def start(self, example, **arguments):
        """A daemon with events of its own, and how to ask it."""
        daemon = example.Daemon(
            self.conf,
            self.files.get_nad,
            ('127.0.0.1', 0),
            host=self.node.host,
            **arguments,
        )
        return Running(daemon)

    def pod(self, number, **annotations):
        """The how-to's pod, with VFs from the kubelet."""
        pod = json.loads(json.dumps(self.files.pod))
        pod['metadata'] |= {'name': f'pod{number}', 'uid': f'uid-{number}'}
        pod['metadata']['annotations'] |= annotations
        self.kubelet.allocate(
            'default', f'pod{number}', f'uid-{number}', self.files.requests()
        )
        path = f'/run/netns/pod{number}'
        if not self.node.host.links.alive(path):
            self.node.add_netns(path)
        return pod


class Running:
    """A daemon that runs in a thread."""

    def __init__(self, daemon):
        self._events = queue.SimpleQueue()
        self._daemon = daemon
        lines = iter(self._events.get, None)
        self._thread = threading.Thread(target=daemon.run, args=[lines])
        self._thread.start()

    def event(self, kind, body):
        self._events.put(json.dumps({'type': kind, 'object': body}))

    def cni(self, method, number):
        """Status, body and headers of the answer."""
        variables = {
            'CNI_CONTAINERID': f'container{number}',
            'CNI_NETNS': f'/run/netns/pod{number}',
            'CNI_ARGS': 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;'
            f'K8S_POD_NAME=pod{number};K8S_POD_UID=uid-{number}',
        }
        connection = http.client.HTTPConnection(
            '127.0.0.1', self._daemon.port, timeout=30
        )
        connection.request('POST', method, json.dumps(variables))
        response = connection.getresponse()
        body = json.loads(response.read())
        connection.close()
        return response.status, body, response.headers

    def stop(self):
        self._events.put(None)
        self._thread.join()


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    with cluster.kubelet:
        for name, (pf,) in cluster.files.pools.items():
            cluster.kubelet.plug(f'intel.com/{name}', cluster.node.vfs(pf))
        yield cluster
    cluster.node.close()


@pytest.fixture
def daemon(cluster, example):
    running = cluster.start(example)
    yield running
    running.stop()


def test_a_pod_is_wired_and_gives_everything_back(cluster, daemon):
    before = cluster.node.state()
    pod = cluster.pod(1)
    daemon.event('ADDED', pod)
    status, interfaces, _ = daemon.cni('/addNetwork', 1)
    assert status == 200
    assert [i['interface'] for i in interfaces] == ['net1', 'net2']
    assert daemon.cni('/checkNetwork', 1)[0] == 200
    daemon.event('DELETED', pod)
    assert daemon.cni('/delNetwork', 1)[0] == 200
    assert cluster.node.state() == before


def test_add_waits_for_the_pods_event(cluster, daemon):
    pod = cluster.pod(1)
    with futures.ThreadPoolExecutor() as threads:
        answer = threads.submit(daemon.cni, '/addNetwork', 1)
        unscheduled = {**pod, 'spec': {**pod['spec'], 'nodeName': ''}}
        daemon.event('ADDED', unscheduled)
        daemon.event('MODIFIED', pod)
        assert answer.result()[0] == 200


def test_add_does_not_wait_for_ever(cluster, example):
    daemon = cluster.start(example, patience=0.01)
    cluster.pod(1)
    status, message, headers = daemon.cni('/addNetwork', 1)
    daemon.stop()
    assert status == 503
    assert message == 'pod default/pod1: no event of it so far'
    assert headers['Retry-After'] == '5'


def test_pods_come_and_go_at_once(cluster, daemon):
    before = cluster.node.state()

    def live(number):
        daemon.event('ADDED', cluster.pod(number))
        status, interfaces, _ = daemon.cni('/addNetwork', number)
        assert status == 200, interfaces
        ips = interfaces[0]['ips']
        daemon.event('DELETED', cluster.pod(number))
        assert daemon.cni('/delNetwork', number)[0] == 200
        return ips[0]

    with futures.ThreadPoolExecutor() as threads:
        assert len(list(threads.map(live, range(PODS)))) == PODS
    assert cluster.node.state() == before


def test_a_mistake_in_the_annotation_is_what_add_says(cluster, daemon):
    networks = {'k8s.v1.cni.cncf.io/networks': 'sriov-net9'}
    daemon.event('ADDED', cluster.pod(1, **networks))
    status, message, _ = daemon.cni('/addNetwork', 1)
    assert status == 500
    assert 'no NetworkAttachmentDefinition default/sriov-net9' in message


def test_a_pod_without_networks_of_ours_is_none_of_our_business(
    cluster, daemon
):
    networks = {'k8s.v1.cni.cncf.io/networks': ''}
    daemon.event('ADDED', cluster.pod(1, **networks))
    assert daemon.cni('/addNetwork', 1)[:2] == (200, [])
    assert daemon.cni('/checkNetwork', 1)[0] == 200
    assert daemon.cni('/delNetwork', 1)[0] == 200


def test_an_unknown_request_is_refused(daemon):
    assert daemon.cni('/anything', 1)[0] == 500


def test_what_went_while_it_was_down_is_collected(cluster, daemon, example):
    """Both pods go, and nobody is there to see it."""
    before = cluster.node.state()
    for number in (1, 2):
        daemon.event('ADDED', cluster.pod(number))
        assert daemon.cni('/addNetwork', number)[0] == 200
    daemon.stop()
    for number in (1, 2):
        cluster.node.delete_netns(f'/run/netns/pod{number}')

    again = cluster.start(example)
    assert cluster.node.state() == before
    cluster.kubelet.free('uid-1')
    cluster.kubelet.free('uid-2')
    listed = {'annotations': {'k8s.io/initial-events-end': 'true'}}
    again.event('BOOKMARK', {'metadata': listed})
    pod = cluster.pod(3)
    again.event('ADDED', pod)
    _, interfaces, _ = again.cni('/addNetwork', 3)
    again.stop()
    assert interfaces[0]['ips'] == ['192.168.2.2']
