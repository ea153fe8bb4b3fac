# SPDX-License-Identifier: Apache-2.0
"""The node daemon's process: the CNI plugin before it, the API server behind.

Kernel and kubelet are simulated.
"""

import json
import signal
from concurrent import futures

import pytest
from kubelab.cluster import place
from servers import wait_for
from worker import Worker

OTHERS = {'name': 'default/macvlan', 'interface': 'net9', 'ips': ['10.9.0.1']}
STATUS = 'k8s.v1.cni.cncf.io/network-status'
MERGE = 'application/merge-patch+json'


@pytest.fixture
def worker(cluster, controller, plugin):
    worker = Worker(cluster, controller, 'node1', plugin)
    yield worker
    worker.close()


def names(result):
    return [interface['name'] for interface in result['interfaces']]


def test_from_add_to_del(worker):
    before = worker.node.state()
    worker.start()
    worker.schedule(1)
    vifs = worker.promise(1)
    result = worker.succeed('ADD', 1)
    assert names(result) == ['eth0', 'net1', 'net2']
    worker.wait_told(1, 'net1', 'net2')
    port = worker.port(1)
    conditions = {each['type']: each for each in port['status']['conditions']}
    assert conditions['Attached']['status'] == 'True'
    assert conditions['Requested']['status'] == 'True'
    wait_for(lambda: worker.network_status(1), 30, 'network-status')
    status = worker.network_status(1)
    assert [each['mac'] for each in status] == [vif.mac for vif in vifs]
    worker.succeed('CHECK', 1)
    worker.succeed('DEL', 1)
    worker.wait_told(1)
    assert worker.node.state() == before
    assert worker.stop() == 0


def test_network_status_of_others_stays(worker, cluster):
    worker.start()
    pod = worker.schedule(1)
    path = f'{place("Pod")}/{pod.name}'
    text = json.dumps([OTHERS])
    cluster.call(
        'PATCH',
        path,
        {'metadata': {'annotations': {STATUS: text}}},
        Content_Type=MERGE,
    )
    worker.promise(1)
    worker.succeed('ADD', 1)
    wait_for(lambda: len(worker.network_status(1)) == 3, 30, 'network-status')
    assert worker.network_status(1)[0] == OTHERS
    worker.succeed('DEL', 1)
    wait_for(lambda: worker.network_status(1) == [OTHERS], 30, 'its end')


def test_a_pod_without_networks_needs_no_controller(worker):
    worker.start()
    worker.schedule(1, networks='')
    assert names(worker.succeed('ADD', 1)) == ['eth0']
    worker.succeed('DEL', 1)


def test_add_waits_for_the_controller(worker):
    worker.start()
    worker.schedule(1)
    with futures.ThreadPoolExecutor() as threads:
        added = threads.submit(worker.succeed, 'ADD', 1)
        worker.promise(1)
        assert names(added.result()) == ['eth0', 'net1', 'net2']


def test_another_nodes_pods_are_not_ours(worker, cluster, controller, plugin):
    other = Worker(cluster, controller, 'node2', plugin)
    try:
        other.start()
        worker.start()
        for number, each in ((1, worker), (2, other)):
            each.schedule(number)
            each.promise(number)
            each.succeed('ADD', number)
            each.wait_told(number, 'net1', 'net2')
            each.succeed('DEL', number)
    finally:
        other.close()


def test_pods_are_served_while_the_api_server_is_away(worker, cluster):
    """What was told before is known, and the report comes later."""
    before = worker.node.state()
    worker.start()
    worker.schedule(1)
    worker.promise(1)
    worker.schedule(2)
    worker.promise(2)
    worker.succeed('ADD', 2)  # so that all is known by now
    worker.wait_told(2, 'net1', 'net2')
    cluster.api.kill()
    try:
        assert names(worker.succeed('ADD', 1)) == ['eth0', 'net1', 'net2']
        worker.succeed('STATUS', 1)
        worker.succeed('DEL', 2)
    finally:
        cluster.restart()
    worker.wait_told(1, 'net1', 'net2')
    worker.wait_told(2)
    worker.succeed('DEL', 1)
    assert worker.node.state() == before


def test_a_lost_del_is_made_good_after_a_restart(worker):
    before = worker.node.state()
    worker.start()
    worker.schedule(1)
    worker.promise(1)
    worker.succeed('ADD', 1)
    worker.wait_told(1, 'net1', 'net2')
    worker.kill()
    assert worker.ask('DEL', 1).code == 11
    worker.node.delete_netns(worker.netns(1))
    worker.start()
    worker.wait_told(1)
    assert worker.node.state() == before


def test_it_stays_in_the_cni_configuration(worker):
    worker.start()

    def listed():
        plugins = json.loads(worker.conflist.read_text())['plugins']
        return [plugin['type'] for plugin in plugins]

    assert listed() == ['bridge', 'kuryr-sriov']
    worker.write_conflist()
    wait_for(lambda: listed() == ['bridge', 'kuryr-sriov'], 10, 'us')
    assert (worker.folder / 'bin' / 'kuryr-sriov').exists()
    assert worker.stop() == 0
    assert listed() == ['bridge', 'kuryr-sriov']  # an upgrade may follow


ADD_POINTS = (
    'serve',
    'allocate',
    'record',
    'connect',
    'bind',
    'set_vf',
    'add_address',
    'confirm',
    'answer',
    'answered',
    'network-status',
)
"""Those of the daemon; the library's own tests have each of its changes."""


@pytest.mark.parametrize('point', ADD_POINTS)
def test_killed_in_add_it_begins_again(worker, point):
    """The runtime does as CNI says: a failed ADD is followed by a DEL."""
    before = worker.node.state()
    worker.start(point)
    worker.schedule(1)
    worker.promise(1)
    ended = worker.ask('ADD', 1)
    assert worker.process.wait(timeout=30) == -signal.SIGKILL
    worker.start()
    if ended.status:
        assert ended.code == 11
        worker.succeed('DEL', 1)
        assert worker.node.state() == before
        worker.succeed('ADD', 1)
    worker.succeed('CHECK', 1)
    worker.wait_told(1, 'net1', 'net2')
    worker.succeed('DEL', 1)
    worker.wait_told(1)
    assert worker.node.state() == before


DEL_POINTS = 'serve', 'restore', 'set', 'answer'


@pytest.mark.parametrize('point', DEL_POINTS)
def test_killed_in_del_it_begins_again(worker, point):
    before = worker.node.state()
    worker.start()
    worker.schedule(1)
    worker.promise(1)
    worker.succeed('ADD', 1)
    worker.wait_told(1, 'net1', 'net2')
    worker.stop()
    worker.start(point)
    ended = worker.ask('DEL', 1)
    assert worker.process.wait(timeout=30) == -signal.SIGKILL
    assert ended.status == 0 or ended.code == 11
    worker.start()
    worker.succeed('DEL', 1)
    worker.wait_told(1)
    assert worker.node.state() == before
