# SPDX-License-Identifier: Apache-2.0
"""The controller's process, whole, at an API server in memory."""

import contextlib
import json
import sqlite3
import threading
import urllib.error
import urllib.request

import memoryapi
import pytest
from memoryapi import MemoryApi
from nodedaemon import wait_for

from kuryr_sriov import (
    Condition,
    Controller,
    Kubernetes,
    KubernetesSession,
    Location,
    Pod,
    load_config,
)
from kuryr_sriov.clients.kubernetes.portobject import (
    ReportedAttachment,
    read_port_object,
)
from kuryr_sriov_daemon.controller import controller_daemon
from kuryr_sriov_daemon.controller.controller_daemon import ControllerDaemon
from kuryr_sriov_daemon.options import register_daemon_options

CONF = """
[sriov]
vif_driver = local
default_physnet_subnets = physnet22:wide22
resource_driver_mappings = physnet22:vfio-pci
orphan_grace = 0
[sriov_local]
subnets_file = {folder}/subnets.yaml
database = {folder}/local.sqlite
[sriov_daemon]
api_root = {url}
[sriov_controller]
lease_duration = {lease_duration}
http_host = 127.0.0.1
http_port = 0
workers = 2
orphan_period = 1
confirm_period = 0.5
changes_period = 1
"""
SUBNETS = """
subnets:
- {id: wide22, network: n22, physnet: physnet22, cidr: 10.22.0.0/16}
"""
LEASE = 'namespace', 'name'
NETWORKS = 'k8s.v1.cni.cncf.io/networks'
KURYR_CONFIG = {'driverType': 'sriov', 'subnetId': 'wide22'}


class Cluster:
    """Pods and networks at an API server, and the controller's replicas."""

    def __init__(self, folder, api):
        self.folder, self.api = folder, api
        (folder / 'subnets.yaml').write_text(SUBNETS)
        self.node = Kubernetes(KubernetesSession(api.url))
        self.replicas = []

    def make_replica(self, name='one', lease_duration=60):
        file = self.folder / f'{name}.conf'
        file.write_text(
            CONF.format(
                folder=self.folder,
                url=self.api.url,
                lease_duration=lease_duration,
            )
        )
        conf = load_config(['--config-file', str(file)])
        replica = Replica(
            ControllerDaemon(register_daemon_options(conf), name)
        )
        self.replicas.append(replica)
        return replica

    def end_all(self):
        for replica in self.replicas:
            replica.end()

    def make_nad(self, name):
        annotations = {'openstack.org/kuryr-config': json.dumps(KURYR_CONFIG)}
        key = (*memoryapi.NADS, 'default', name)
        self.api.put(key, {'metadata': {'annotations': annotations}})

    def make_pod(self, name, network):
        requests = {'intel.com/physnet22': '1'}
        body = {
            'metadata': {'annotations': {NETWORKS: network}},
            'spec': {
                'nodeName': 'node1',
                'containers': [{'resources': {'requests': requests}}],
            },
            'status': {'phase': 'Pending'},
        }
        key = (*memoryapi.PODS, 'default', name)
        self.api.put(key, body, uid=f'uid-{name}')
        return Pod('default', name, f'uid-{name}', 'node1')

    def delete_pod(self, pod):
        self.api.delete((*memoryapi.PODS, pod.namespace, pod.name))

    def port(self, pod):
        body = self.api.get((*memoryapi.PORTS, pod.namespace, pod.uid))
        return body and read_port_object(body)

    def says(self, pod, kind):
        port = self.port(pod)
        return (
            port and kind in port.conditions and port.conditions[kind].reason
        )

    def report(self, pod):
        """What the node's daemon says once it has attached the pod's VIF."""
        (vif,) = self.port(pod).vifs
        location = Location('node1', '0000:02:10.0', '8086:10ca', vif.physnet)
        attachment = ReportedAttachment(vif.ifname, vif.id, location)
        done = Condition('True', 'Attached', 'all', '2026-01-01T00:00:00Z')
        self.node.report(pod, [attachment], done)

    def forget(self, pod):
        """As if neither it nor its port object had ever been."""
        port = (*memoryapi.PORTS, pod.namespace, pod.uid)
        self.delete_pod(pod)
        self.api.patch(port, {'metadata': {'finalizers': []}})
        self.api.delete(port)

    def holders(self):
        """Uids of the pods that have VIFs."""
        path = f'file:{self.folder}/local.sqlite?mode=ro'
        with contextlib.closing(sqlite3.connect(path, uri=True)) as database:
            return [
                uid for (uid,) in database.execute('SELECT pod_uid FROM vif')
            ]

    def lease_holder(self):
        (lease,) = self.api.list(memoryapi.LEASES)
        return lease['spec']['holderIdentity']

    def wait_says(self, pod, kind, reason):
        wait_for(lambda: self.says(pod, kind) == reason)

    def events(self):
        return [one['reason'] for one in self.api.list(memoryapi.EVENTS)]


class Replica:
    """A replica that runs in a thread."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.status = None
        self._thread = threading.Thread(target=self._run, name='replica')

    def _run(self):
        self.status = self.daemon.run()

    def start(self):
        self._thread.start()
        return self

    def end(self):
        self.daemon.stop()
        return self.wait_end()

    def wait_end(self):
        self._thread.join(120)
        assert not self._thread.is_alive()
        return self.status

    def ask(self, path):
        port = self.daemon.health.port
        url = f'http://127.0.0.1:{port}{path}'
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError:
            return ''

    def metric(self, name):
        lines = self.ask('/metrics').splitlines()
        values = [line.split() for line in lines if line.startswith(name)]
        return float(values[0][1]) if values else None


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)
    # what is to come by an event must not come by a retry
    monkeypatch.setattr(controller_daemon, 'PERMANENT_PAUSE', 1000)
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(MemoryApi().serving())
        cluster = Cluster(tmp_path, api)
        stack.callback(cluster.node.session.close)
        cluster.make_nad('net')
        stack.callback(cluster.end_all)
        yield cluster


def test_from_a_pod_to_traffic_and_back(cluster):
    one = cluster.make_replica().start()
    pod = cluster.make_pod('web', 'net')
    cluster.wait_says(pod, 'Active', 'NotAttached')
    assert one.daemon._library.vifs.cluster == 'uid-cluster'
    assert cluster.port(pod).vifs[0].ifname == 'net1'
    cluster.report(pod)
    cluster.wait_says(pod, 'Active', 'Activated')
    assert one.ask('/healthz') == one.ask('/readyz') == 'ok\n'
    assert [thread.name for thread in one.daemon._threads] == [
        *('events', 'lease'),
        *('watch pods', 'watch networks', 'watch port objects'),
        *('worker 0', 'worker 1', 'orphans', 'confirm', 'changes'),
    ]
    assert one.metric('kuryr_sriov_controller_leader') == 1
    cluster.delete_pod(pod)
    wait_for(lambda: cluster.port(pod) is None)
    assert one.end() == 0
    assert cluster.lease_holder() == ''
    assert cluster.events() == []
    pods = cluster.api.queries('/api/v1/pods')
    # pods that are on no node yet are of no interest
    assert {query['fieldSelector'] for query in pods} == {'spec.nodeName!='}
    assert [query.get('watch') for query in pods] == [None, '1']


def test_the_other_replica_goes_on_where_the_first_has_ended(
    cluster, monkeypatch
):
    led = []
    monkeypatch.setattr(
        Controller, 'gain_leadership', lambda library: led.append(library)
    )
    one = cluster.make_replica('one').start()
    pod = cluster.make_pod('web', 'net')
    cluster.wait_says(pod, 'Active', 'NotAttached')
    two = cluster.make_replica('two').start()
    wait_for(lambda: two.ask('/readyz'))
    assert two.metric('kuryr_sriov_controller_leader') == 0
    assert cluster.lease_holder() == 'one'
    assert one.end() == 0
    cluster.delete_pod(pod)
    late = cluster.make_pod('late', 'net')
    cluster.wait_says(late, 'Active', 'NotAttached')
    wait_for(lambda: cluster.port(pod) is None)
    assert cluster.lease_holder() == 'two'
    # each begins with nothing that it knew before
    assert led == [one.daemon._library, two.daemon._library]


def test_a_replica_that_waits_ends_when_it_is_told(cluster):
    cluster.make_replica('one').start()
    wait_for(lambda: cluster.api.list(memoryapi.LEASES))
    two = cluster.make_replica('two').start()
    wait_for(lambda: two.ask('/readyz'))
    assert two.end() == 0
    assert cluster.lease_holder() == 'one'


def test_a_replica_whose_lease_another_has_ends_and_says_so(cluster):
    """With a status that has it started again, and the lease untouched."""
    one = cluster.make_replica(lease_duration=6).start()
    wait_for(lambda: one.metric('kuryr_sriov_controller_leader'))
    (lease,) = cluster.api.list(memoryapi.LEASES)
    stolen = {**lease['spec'], 'holderIdentity': 'thief'}
    key = (*memoryapi.LEASES, *map(lease['metadata'].get, LEASE))
    cluster.api.patch(key, {'spec': stolen})
    assert one.wait_end() == 1
    assert cluster.lease_holder() == 'thief'


def test_an_api_server_that_is_away_is_asked_again(cluster):
    cluster.api.refusals['kube-system'] = 1
    cluster.make_replica().start()
    cluster.wait_says(cluster.make_pod('web', 'net'), 'Active', 'NotAttached')
    assert cluster.api.refusals['kube-system'] == 0


def test_a_replica_ends_while_the_api_server_is_away(cluster):
    cluster.api.refusals['kube-system'] = 1000
    one = cluster.make_replica().start()
    wait_for(lambda: cluster.api.refusals['kube-system'] < 1000)
    assert one.end() == 0
    # it has not asked again at once
    assert cluster.api.refusals['kube-system'] > 990


def test_a_network_that_is_made_later_is_found_by_its_watch(cluster):
    cluster.make_replica().start()
    pod = cluster.make_pod('web', 'late')
    cluster.wait_says(pod, 'Requested', 'NetworkMissing')
    wait_for(lambda: cluster.events() == ['NetworkMissing'])
    cluster.make_nad('late')
    cluster.wait_says(pod, 'Requested', 'Promised')


def test_a_vif_whose_pod_and_port_object_are_gone_is_given_back(cluster):
    one = cluster.make_replica('one').start()
    pods = [cluster.make_pod(name, 'net') for name in ('web', 'lost')]
    for pod in pods:
        cluster.wait_says(pod, 'Active', 'NotAttached')
    assert one.metric('kuryr_sriov_controller_orphans_total') == 0
    one.end()
    web, lost = pods
    cluster.forget(lost)
    two = cluster.make_replica('two').start()
    wait_for(lambda: two.metric('kuryr_sriov_controller_orphans_total'))
    assert cluster.holders() == [web.uid]
    assert two.metric('kuryr_sriov_controller_orphans_total') == 1


def test_what_is_under_way_is_finished_before_another_may_lead(cluster):
    answering, answered = threading.Event(), threading.Event()

    def hold():
        answering.set()
        assert answered.wait(120)

    cluster.api.before['PATCH', 'kuryrsriovports'] = hold
    one = cluster.make_replica().start()
    pod = cluster.make_pod('web', 'net')
    assert answering.wait(120)
    one.daemon.stop()
    wait_for(lambda: one.ask('/readyz') == '')
    holder = cluster.lease_holder()
    answered.set()
    assert one.wait_end() == 0
    assert cluster.port(pod) is not None
    assert (holder, cluster.lease_holder()) == ('one', '')
