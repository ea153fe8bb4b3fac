# SPDX-License-Identifier: Apache-2.0
"""The node daemon serves a container runtime, chained and as delegate."""

import json
import os
import re
import stat
import tempfile
import threading
import time
from concurrent import futures

import monitoring
import pytest
from fakeapi import pod_number
from nodedaemon import PREVIOUS, NodeWithDaemon, wait_for

from kuryr_sriov import (
    Condition,
    ConfigurationError,
    PermanentError,
    TransientError,
)
from kuryr_sriov.host import ledger
from kuryr_sriov.host.locks import PfLocks
from kuryr_sriov.testing.simulation.device_manager import DeviceManager

STATUS = 'k8s.v1.cni.cncf.io/network-status'
OTHERS = {'name': 'default/macvlan', 'interface': 'net9', 'ips': ['10.9.0.1']}

SLOW = 120  # seconds; far longer than any of it may take


@pytest.fixture
def node(world):
    node = NodeWithDaemon(world)
    yield node
    node.close()


@pytest.fixture
def chained(node):
    node.start()
    return node


@pytest.fixture
def delegate(node):
    node.start(way='delegate')
    return node


def names(result):
    return [interface['name'] for interface in result['interfaces']]


def told(node, pod):
    """What the port object says of the pod's interfaces, when it does."""
    port = node.api.promises[pod.uid]
    return [each.interface for each in port.attachments]


def test_a_pod_gets_its_vfs_and_gives_them_back(chained):
    before = chained.world.node.state()
    pod, _ = chained.promised(1)
    result = chained.runtime.succeed('ADD', 1)
    assert names(result) == ['eth0', 'net1', 'net2']
    assert result['ips'][0] == PREVIOUS['ips'][0]
    assert chained.runtime.succeed('CHECK', 1) is None
    wait_for(lambda: told(chained, pod) == ['net1', 'net2'])
    assert chained.runtime.succeed('DEL', 1) is None
    assert chained.world.node.state() == before
    wait_for(lambda: told(chained, pod) == [])
    assert chained.runtime.succeed('DEL', 1) is None


def test_add_and_del_read_no_record_of_other_pods(chained, monkeypatch):
    """What they cost does not grow with what the node has."""
    readers = set()
    read_all = ledger.Ledger.all

    def note_and_read(self):
        readers.add(threading.current_thread().name)
        return read_all(self)

    monkeypatch.setattr(ledger.Ledger, 'all', note_and_read)
    pod, _ = chained.promised(1)
    chained.runtime.succeed('ADD', 1)
    wait_for(lambda: told(chained, pod) == ['net1', 'net2'])
    chained.runtime.succeed('CHECK', 1)
    chained.runtime.succeed('DEL', 1)
    wait_for(lambda: told(chained, pod) == [])
    assert readers <= {'upkeep'}


def test_the_neighbours_are_told_after_the_answer(chained):
    _, (_on_vfio, vif) = chained.promised(1)
    chained.runtime.succeed('ADD', 1)
    expected = [(vif.mac, address) for address in vif.addresses]
    wait_for(lambda: chained.world.node.announced == expected)


def test_a_pod_without_networks_is_answered_from_memory(chained):
    chained.world.sandbox(1)
    chained.api.add_pod(pod_number(1))
    assert chained.runtime.succeed('ADD', 1) == PREVIOUS
    assert chained.runtime.succeed('CHECK', 1) is None
    assert chained.runtime.succeed('DEL', 1) is None
    assert not chained.api.reports


def test_a_pod_whose_networks_are_not_ours_stays_as_it_is(chained):
    chained.world.sandbox(1)
    chained.api.add_pod(pod_number(1), 'macvlan')
    chained.api.promise(pod_number(1), ())
    assert chained.runtime.succeed('ADD', 1) == PREVIOUS
    assert chained.runtime.succeed('CHECK', 1) is None


def test_add_waits_for_the_pod_and_for_its_vifs(chained):
    world = chained.world
    world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    with futures.ThreadPoolExecutor() as threads:
        added = threads.submit(chained.runtime.succeed, 'ADD', 1)
        chained.api.add_pod(pod_number(1), 'sriov-net1')
        chained.api.promise(pod_number(1), world.both())
        assert names(added.result()) == ['eth0', 'net1', 'net2']


def test_add_says_what_it_waited_for(node):
    node.start(vifs_timeout=0.05)
    node.world.sandbox(1)
    error = node.runtime.fail('ADD', 1)
    assert error['code'] == 11
    assert 'has not told of pod default/pod1 (uid-1)' in error['msg']
    node.api.add_pod(pod_number(1), 'sriov-net1')
    node.api.copy_of(node.api.promises).trouble = TransientError(
        'no answer of the API server'
    )
    error = node.runtime.fail('ADD', 1)
    assert error['code'] == 11
    assert 'has promised no VIFs to pod default/pod1' in error['msg']
    assert 'no answer of the API server' in error['msg']


def test_attaching_has_what_is_left_of_the_request(chained, monkeypatch):
    """The runtime waits for all of it together."""
    pod, vifs = chained.schedule(1)
    library = chained.running[-1][0]._node
    had = []

    def spy(name):
        done = getattr(library, name)

        def do(*args, timeout, **named):
            had.append(timeout)
            return done(*args, timeout=timeout, **named)

        monkeypatch.setattr(library, name, do)

    spy('attach')
    spy('detach')
    with futures.ThreadPoolExecutor() as threads:
        added = threads.submit(chained.runtime.succeed, 'ADD', 1)
        wait_for(
            lambda: chained.running[-1][0]._commands._sandboxes._sandboxes
        )
        began = time.monotonic()
        wait_for(lambda: time.monotonic() > began + 0.2)
        waited = time.monotonic() - began
        chained.api.promise(pod, vifs)
        added.result()
    chained.runtime.succeed('DEL', 1)
    assert 0 < had[0] <= 100 - waited
    assert 0 < had[1] <= 100


def test_an_add_whose_time_is_over_leaves_nothing(node, world):
    node.start()
    node.promised(1)
    node.stop()
    world.text += f'attachment_timeout = 1\npf_lock_timeout = {2 * SLOW}\n'
    node.start(request_timeout=1, vifs_timeout=0.5)
    before = world.node.state()
    locks = PfLocks(world.path / 'state' / 'locks', timeout=SLOW)
    with locks.hold(['0000:02:00.0']):  # another program's
        assert node.runtime.fail('ADD', 1)['code'] == 11
    assert world.node.state() == before
    assert not node.running[-1][0]._node.attachments()


def test_values_that_do_not_fit_are_refused_at_the_start(node):
    node.options |= {'active_timeout': 60}
    with pytest.raises(ConfigurationError, match='active_timeout'):
        node.make()


def test_add_says_why_the_controller_cannot(chained):
    pod, _ = chained.schedule(1)
    why = Condition('False', 'InvalidAnnotation', 'there is no such network')
    chained.api.promise(pod, (), why)
    error = chained.runtime.fail('ADD', 1)
    assert error['code'] == 11
    assert 'there is no such network' in error['msg']


def test_a_failed_add_leaves_nothing(chained):
    before = chained.world.node.state()
    pod, vifs = chained.schedule(1)
    chained.world.allocated['uid-1'].pop()
    chained.api.promise(pod, vifs)
    error = chained.runtime.fail('ADD', 1)
    assert error['code'] == 102
    assert 'intel.com/physnet23' in error['msg']
    assert chained.world.node.state() == before


def test_a_del_ends_an_add_that_waits(chained):
    pod, vifs = chained.schedule(1)
    before = chained.world.node.state()
    with futures.ThreadPoolExecutor() as threads:
        added = threads.submit(chained.runtime.fail, 'ADD', 1)
        # An ADD that came after the DEL would wait for its VIFs in vain.
        while not added.done():
            chained.runtime.succeed('DEL', 1)
        assert 'deleted this sandbox' in added.result()['msg']
    chained.api.promise(pod, vifs)
    assert chained.world.node.state() == before


def test_an_add_that_was_given_up_attaches_nothing(chained):
    pod, vifs = chained.schedule(1)
    before = chained.world.node.state()
    server = chained.running[-1][0]._server
    connection = chained.runtime.send('ADD', 1)
    wait_for(lambda: server._running)
    connection.close()
    wait_for(lambda: not server._running)
    chained.api.promise(pod, vifs)
    assert chained.world.node.state() == before
    assert names(chained.runtime.succeed('ADD', 1))[1:] == ['net1', 'net2']


def test_an_answer_that_nobody_takes_is_undone(chained, world):
    """The runtime's DEL for it may be lost."""
    pod, _ = chained.promised(1)
    before = world.node.state()
    connections = []

    def give_up(change):
        while connections:
            connections.pop().close()

    world.node.on_change(give_up)
    connections.append(chained.runtime.send('ADD', 1))
    wait_for(lambda: not connections)
    wait_for(lambda: not chained.running[-1][0]._server._running)
    assert world.node.state() == before
    wait_for(lambda: told(chained, pod) == [])


def test_a_sandbox_made_anew_gets_the_vfs_of_the_old_one(chained):
    chained.promised(1)
    chained.runtime.succeed('ADD', 1)
    chained.world.node.delete_netns('/run/netns/pod1-1')
    chained.schedule(1, generation=2)
    result = chained.runtime.succeed('ADD', 1, generation=2)
    assert names(result) == ['eth0', 'net1', 'net2']
    assert chained.runtime.succeed('DEL', 1) is None
    assert chained.runtime.succeed('CHECK', 1, generation=2) is None


def test_a_chained_plugin_comes_after_another(chained):
    chained.promised(1)
    error = chained.runtime.fail('ADD', 1, prevResult=None)
    assert error['code'] == 7
    assert 'way = delegate' in error['msg']


def test_check_finds_a_changed_vf(chained, world):
    chained.promised(1)
    chained.runtime.succeed('ADD', 1)
    world.node.rename(world.vf(1, 0).pci, 'other')
    error = chained.runtime.fail('CHECK', 1)
    assert error['code'] == 106


def test_check_finds_a_pod_without_the_vfs_it_was_promised(chained):
    chained.promised(1)
    error = chained.runtime.fail('CHECK', 1)
    assert error['code'] == 106
    assert 'has no VFs, but was promised net1, net2' in error['msg']


def test_gc_gives_back_what_the_runtime_does_not_know(chained):
    before = chained.world.node.state()
    pods = [chained.promised(number)[0] for number in (1, 2)]
    for number in (1, 2):
        chained.runtime.succeed('ADD', number)
    valid = [{'containerID': 'sandbox2-1', 'ifname': 'eth0'}]
    key = {'cni.dev/valid-attachments': valid}
    # A pod that still runs keeps its VFs, whatever the list says.
    chained.runtime.succeed('GC', 1, **key)
    assert chained.runtime.succeed('CHECK', 1) is None
    chained.api.delete_pod(pods[0])
    chained.runtime.succeed('GC', 1)  # without the key
    assert len(chained.running[-1][0]._node.attachments()) == 4
    chained.runtime.succeed('GC', 1, **key)
    assert len(chained.running[-1][0]._node.attachments()) == 2
    assert chained.runtime.succeed('CHECK', 2) is None
    chained.runtime.succeed('DEL', 2)
    assert chained.world.node.state() == before


def test_gc_of_another_form_deletes_nothing(chained):
    pod, _ = chained.promised(1)
    chained.runtime.succeed('ADD', 1)
    chained.api.delete_pod(pod)
    key = {'cni.dev/valid-attachments': {'sandbox1-1': 'eth0'}}
    assert chained.runtime.fail('GC', 1, **key)['code'] == 7
    assert len(chained.running[-1][0]._node.attachments()) == 2


def test_status_tells_whether_add_can_be_served(chained):
    assert chained.runtime.succeed('STATUS', 1) is None
    chained.api.copy_of(chained.api.bodies).is_complete = False
    error = chained.runtime.fail('STATUS', 1)
    assert error['code'] == 50


def test_add_waits_for_active_ports_where_that_is_configured(node):
    node.start(active_timeout=20)
    pod, _ = node.promised(1)
    with futures.ThreadPoolExecutor() as threads:
        added = threads.submit(node.runtime.succeed, 'ADD', 1)
        wait_for(lambda: told(node, pod) == ['net1', 'net2'])
        assert not added.done()
        node.api.activate(pod)
        assert names(added.result())[1:] == ['net1', 'net2']


def test_ports_that_do_not_become_active_fail_the_pod(node):
    node.start(active_timeout=0.2)
    before = node.world.node.state()
    pod, _ = node.promised(1)
    node.api.activate(pod, 'False')
    error = node.runtime.fail('ADD', 1)
    assert error['code'] == 11
    assert 'the agent is away' in error['msg']
    assert node.world.node.state() == before


def test_what_others_wrote_into_network_status_stays(chained):
    pod, _ = chained.promised(1)
    chained.api.annotate(pod, **{STATUS: json.dumps([OTHERS])})
    chained.runtime.succeed('ADD', 1)
    wait_for(lambda: chained.api.statuses)
    status = chained.api.statuses[-1]
    assert status[0] == OTHERS
    assert [one['interface'] for one in status[1:]] == ['net1', 'net2']
    assert status[1]['device-info']['pci']['pci-address']
    chained.runtime.succeed('DEL', 1)
    wait_for(lambda: chained.api.statuses[-1] == [OTHERS])


@pytest.mark.parametrize('text', ['', '{', '{}', '[7]', '[' * 100000])
def test_a_network_status_that_is_none_is_replaced(chained, text):
    pod, _ = chained.promised(1)
    chained.api.annotate(pod, **{STATUS: text})
    chained.runtime.succeed('ADD', 1)
    wait_for(lambda: chained.api.statuses)
    assert len(chained.api.statuses[-1]) == 2


def test_what_is_told_is_told_once(chained):
    pod, _ = chained.promised(1)
    chained.runtime.succeed('ADD', 1)
    wait_for(lambda: chained.api.statuses)
    chained.api.annotate(pod, x='1')
    chained.api.activate(pod)
    chained.runtime.succeed('CHECK', 1)
    chained.stop()
    assert len(chained.api.reports) == 1
    assert len(chained.api.statuses) == 1
    _, attachments, condition = chained.api.reports[0]
    assert condition.status == 'True'
    assert [each.driver for each in attachments] == ['vfio-pci', 'netdevice']
    assert all(each.location.node == 'node1' for each in attachments)


def test_what_a_killed_daemon_did_not_tell_is_told_by_its_successor(chained):
    pod, _ = chained.promised(1)
    chained.api.refusal = TransientError('no answer', retry_after=0.01)
    chained.runtime.succeed('ADD', 1)
    chained.stop()
    assert told(chained, pod) == []
    chained.api.refusal = None
    chained.start()
    wait_for(lambda: told(chained, pod) == ['net1', 'net2'])


@pytest.mark.parametrize(
    'refusal',
    [
        TransientError('no answer', retry_after=0.01),
        PermanentError('403: bind the role'),
    ],
)
def test_a_report_is_tried_again(chained, refusal):
    """What an operator cures heals by itself."""
    pod, _ = chained.promised(1)
    chained.api.refusal = refusal
    chained.runtime.succeed('ADD', 1)
    wait_for(lambda: chained.api.refused)
    chained.api.refusal = None
    wait_for(lambda: told(chained, pod) == ['net1', 'net2'])


def test_multus_gets_one_vf_at_a_time(delegate):
    before = delegate.world.node.state()
    pod, vifs = delegate.promised(1)
    for vif in vifs:
        result = delegate.runtime.succeed('ADD', 1, vif.ifname)
        assert names(result) == [vif.ifname]
        assert result['ips'][0]['address'] == vif.addresses[0]
        assert delegate.runtime.succeed('CHECK', 1, vif.ifname) is None
    wait_for(lambda: told(delegate, pod) == ['net1', 'net2'])
    assert not delegate.api.statuses  # Multus writes it
    assert delegate.runtime.succeed('DEL', 1, 'net1') is None
    assert delegate.runtime.succeed('DEL', 1, 'net1') is None
    assert delegate.runtime.succeed('CHECK', 1, 'net2') is None
    assert (
        delegate.runtime.succeed('DEL', 1, 'net2', cniVersion='0.3.1') is None
    )
    assert delegate.world.node.state() == before


def test_multus_chooses_among_what_the_kubelet_gave(delegate, world):
    pod, (vif, _) = delegate.schedule(1)
    both = [world.vf(0, 0), world.vf(0, 1)]
    world.allocated[pod.uid] += both[1:]
    delegate.api.promise(pod, (vif,))
    delegate.runtime.succeed('ADD', 1, 'net1', deviceID=both[1].pci)
    (record,) = delegate.running[-1][0]._node.attachments()
    assert record.pci == both[1].pci


@pytest.mark.parametrize('which', [(0, 1), (1, 0)])
def test_multus_cannot_choose_what_the_kubelet_did_not_give(
    delegate, world, which
):
    """Another pod's VF, or one of another resource."""
    before = world.node.state()
    delegate.promised(1)
    error = delegate.runtime.fail(
        'ADD', 1, 'net1', deviceID=world.vf(*which).pci
    )
    assert error['code'] == 102
    assert world.vf(*which).pci in error['msg']
    assert world.node.state() == before


@pytest.mark.parametrize(
    ('config', 'word'),
    [
        ({'mac': '02:00:00:00:00:99'}, '02:00:00:00:00:99'),
        ({'ips': ['192.168.9.9/24']}, '192.168.9.9'),
    ],
)
def test_what_multus_asks_for_is_what_the_port_has(delegate, config, word):
    delegate.promised(1)
    error = delegate.runtime.fail('ADD', 1, 'net1', runtimeConfig=config)
    assert error['code'] == 7
    assert word in error['msg']


def test_what_multus_asks_for_may_be_what_the_port_has(delegate):
    _, (vif, _) = delegate.promised(1)
    config = {'mac': vif.mac.upper(), 'ips': list(vif.addresses)}
    delegate.runtime.succeed('ADD', 1, 'net1', runtimeConfig=config)


def test_a_delegate_without_a_vif_is_told_what_is_missing(delegate):
    delegate.promised(1)
    error = delegate.runtime.fail('ADD', 1, 'net7')
    assert error['code'] == 7
    assert 'openstack.org/kuryr-config' in error['msg']
    delegate.world.sandbox(2)
    delegate.api.add_pod(pod_number(2), 'macvlan')
    delegate.api.promise(pod_number(2), ())
    assert delegate.runtime.fail('ADD', 2, 'net1')['code'] == 7


def test_gc_of_a_delegate_knows_one_network_of_several(delegate):
    """So that what still lives is not given back for it."""
    before = delegate.world.node.state()
    delegate.promised(1)
    delegate.runtime.succeed('ADD', 1, 'net1')
    key = {'cni.dev/valid-attachments': []}
    delegate.runtime.succeed('GC', 1, **key)
    assert delegate.runtime.succeed('CHECK', 1, 'net1') is None
    delegate.world.node.delete_netns('/run/netns/pod1-1')
    delegate.runtime.succeed('GC', 1, **key)
    assert not delegate.running[-1][0]._node.attachments()
    assert delegate.world.node.state() == before


def test_requests_in_progress_are_finished_when_it_ends(chained, world):
    chained.promised(1)
    chained.schedule(2)
    ending = []

    def end(change):
        if not ending:
            ending.append(True)
            chained.running[-1][0].stop()
            wait_for(lambda: chained.running[-1][0]._commands._draining)

    with futures.ThreadPoolExecutor() as threads:
        waiting = threads.submit(chained.runtime.fail, 'ADD', 2)
        wait_for(lambda: chained.running[-1][0]._server._running)
        world.node.on_change(end)
        added = threads.submit(chained.runtime.succeed, 'ADD', 1)
        assert names(added.result())[1:] == ['net1', 'net2']
        assert 'its successor serves this' in waiting.result()['msg']
    chained.stop()
    with pytest.raises(OSError):  # noqa: PT011
        chained.runtime.ask('STATUS', 1)


@pytest.mark.parametrize('folder', ['there', 'made'])
def test_the_socket_is_for_nobody_else(node, folder):
    """The kubelet makes the folder of a hostPath volume for everybody."""
    run = node.run
    if folder == 'there':
        run.chmod(0o755)
    else:
        run.rmdir()
    node.start()
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in run.iterdir()}
    assert modes == {'cni.sock': 0o600, 'node.lock': 0o600}


def test_a_folder_that_others_use_is_left_to_them(node):
    node.run.chmod(0o755)
    (node.run / 'dbus').mkdir()
    with pytest.raises(PermanentError, match='dbus of somebody else'):
        node.make()
    assert stat.S_IMODE(node.run.stat().st_mode) == 0o755


def test_a_second_daemon_waits_for_the_first(chained, caplog):
    with futures.ThreadPoolExecutor() as threads:
        second = chained.make()
        running = threads.submit(second.run)
        wait_for(lambda: 'another process' in second._why_not_ready())
        process = f'process {os.getpid()} is the node daemon here'
        wait_for(lambda: process in caplog.text)
        assert chained.runtime.succeed('STATUS', 1) is None
        chained.stop()
        wait_for(lambda: second._why_not_ready() == '')
        assert chained.runtime.succeed('STATUS', 1) is None
        second.stop()
        running.result()


def test_a_second_daemon_can_end_while_it_waits(chained):
    second = chained.make()
    with futures.ThreadPoolExecutor() as threads:
        running = threads.submit(second.run)
        second.stop()
        running.result()
    assert chained.runtime.succeed('STATUS', 1) is None


def test_a_lost_del_is_made_good(chained):
    before = chained.world.node.state()
    pod, _ = chained.promised(1)
    chained.runtime.succeed('ADD', 1)
    wait_for(lambda: told(chained, pod))
    chained.world.node.delete_netns('/run/netns/pod1-1')
    chained.running[-1][0]._upkeep.reconcile()
    assert chained.world.node.state() == before
    wait_for(lambda: told(chained, pod) == [])


def test_a_del_while_the_daemon_is_away_is_made_good_at_its_start(chained):
    before = chained.world.node.state()
    chained.promised(1)
    chained.runtime.succeed('ADD', 1)
    chained.stop()
    with pytest.raises(OSError):  # noqa: PT011
        chained.runtime.ask('DEL', 1)
    chained.world.node.delete_netns('/run/netns/pod1-1')
    chained.start()
    assert chained.world.node.state() == before


def test_drift_is_an_event_and_a_metric(chained, world):
    pod, _ = chained.promised(1)
    chained.runtime.succeed('ADD', 1)
    world.node.rename(world.vf(1, 0).pci, 'other')
    upkeep = chained.running[-1][0]._upkeep
    upkeep.check()
    assert list(upkeep.drifts) == [('sandbox1-1', 'net2')]
    wait_for(lambda: chained.api.session.reasons() == ['VfDrifted'])

    def attached(name):
        # None while ADD's own report is on its way: the event above does not
        # wait for it.
        condition = chained.api.promises[pod.uid].conditions.get('Attached')
        return getattr(condition, name, None)

    wait_for(lambda: attached('reason') == 'Drifted')
    world.node.rename(world.vf(1, 0).pci, 'net2')
    upkeep.check()
    assert not upkeep.drifts
    wait_for(lambda: attached('status') == 'True')


def test_a_pod_that_was_started_without_us_is_told(chained):
    pod, _ = chained.promised(1)
    upkeep = chained.running[-1][0]._upkeep
    upkeep.check()
    assert not upkeep.without_vfs  # its ADD has not come yet
    chained.api.set_phase(pod, 'Running')
    upkeep.check()
    assert upkeep.without_vfs == (pod,)
    wait_for(lambda: chained.api.session.reasons() == ['RunsWithoutVfs'])


def test_another_pods_uid_in_an_annotation_finds_nobody(chained):
    """A mirror pod says by an annotation which uid the runtime knows."""
    _, vifs = chained.promised(1)
    chained.api.add_pod(
        pod_number(2), **{'kubernetes.io/config.hash': 'uid-1'}
    )
    result = chained.runtime.succeed('ADD', 1)
    assert names(result)[1:] == [vif.ifname for vif in vifs]


def test_a_static_pod_is_found_by_the_uid_of_its_mirror(chained):
    pod, vifs = chained.schedule(1)
    mirror = pod_number(1)
    chained.api.delete_pod(pod)
    mirror = type(mirror)('default', 'pod1', 'uid-mirror', 'node1')
    chained.world.allocated['uid-mirror'] = chained.world.allocated['uid-1']
    chained.api.add_pod(
        mirror, 'sriov-net1', **{'kubernetes.io/config.hash': 'uid-1'}
    )
    chained.api.promise(mirror, vifs)
    result = chained.runtime.succeed('ADD', 1)
    assert names(result)[1:] == ['net1', 'net2']
    wait_for(lambda: told(chained, mirror) == ['net1', 'net2'])


def test_pods_come_and_go_at_once(chained, world):
    before = world.node.state()

    def live(number):
        chained.promised(number)
        for _ in range(3):
            result = chained.runtime.succeed('ADD', number)
            assert names(result)[1:] == ['net1', 'net2']
            chained.runtime.succeed('CHECK', number)
            chained.runtime.succeed('DEL', number)

    with futures.ThreadPoolExecutor() as threads:
        list(threads.map(live, (1, 2)))
    assert world.node.state() == before


def test_dashboard_and_alerts_name_metrics_that_there_are(chained):
    chained.promised(1)
    chained.runtime.succeed('ADD', 1)
    daemon = chained.running[-1][0]
    _, _, body = daemon._health.answer('/metrics')
    named = monitoring.named_metrics('node')
    assert len(named) > 5
    assert named <= monitoring.shown_metrics(body.decode())


@pytest.fixture
def kubelet(node, world):
    """One that offers the VFs of the world, by its checkpoint."""
    with tempfile.TemporaryDirectory() as root:
        kubelet = DeviceManager(root)
        for number in (0, 1):
            vfs = [world.vf(number, index) for index in (0, 1)]
            kubelet.plug(vfs[0].resource, [vf.pci for vf in vfs])
        world.text += f'kubelet_root_dir = {root}\n'
        yield kubelet


def shown(node, name):
    """The samples of a metric of the running daemon, by resource."""
    _, _, body = node.running[-1][0]._health.answer('/metrics')
    form = rf'^kuryr_sriov_node_{name}{{resource="intel.com/(\w+)"}} ([\d.]+)$'
    found = re.findall(form, body.decode(), re.MULTILINE)
    return {resource: float(count) for resource, count in found}


def test_the_metrics_count_vfs_by_resource(node, world, kubelet):
    vfs = world.vf(0, 0), world.vf(1, 0)
    pod, vifs = node.schedule(1)
    given = {vf.resource: 1 for vf in vfs}
    world.allocations = None  # the daemon asks that kubelet
    world.allocated[pod.uid] = kubelet.allocate(
        pod.namespace, pod.name, pod.uid, given
    )
    node.start()
    wait_for(lambda: shown(node, 'vfs') == {'physnet22': 2, 'physnet23': 2})
    assert shown(node, 'vfs_free') == {'physnet22': 2, 'physnet23': 2}
    assert shown(node, 'vfs_owed') == {'physnet22': 0, 'physnet23': 0}
    node.api.promise(pod, vifs)
    node.runtime.succeed('ADD', 1)
    assert shown(node, 'vfs_free') == {'physnet22': 1, 'physnet23': 1}
    (record,) = (
        record
        for record in node.running[-1][0]._node.attachments()
        if record.vif.ifname == 'net2'
    )
    world.node.rename(record.pci, 'other')
    node.running[-1][0]._upkeep.check()
    assert shown(node, 'vfs_drifted') == {'physnet22': 0, 'physnet23': 1}
    kubelet.plug('intel.com/physnet22', [])
    node.running[-1][0]._upkeep.count_offered()
    assert shown(node, 'vfs') == {'physnet22': 0, 'physnet23': 2}


def test_the_metrics_tell_who_has_which_vf(chained):
    chained.promised(1)
    chained.runtime.succeed('ADD', 1)
    chained.runtime.fail('ADD', 1, prevResult=None)
    daemon = chained.running[-1][0]
    _, _, body = daemon._health.answer('/metrics')
    text = body.decode()
    vf = chained.world.vf(1, 0).pci
    assert 'kuryr_sriov_node_vf_info{' in text
    assert f'pci_address="{vf}"' in text
    assert 'command="ADD",code="0"' in text.replace(
        'code="0",command="ADD"', 'command="ADD",code="0"'
    )
    resource = 'resource="intel.com/physnet23"'
    assert f'kuryr_sriov_node_vfs_drifted{{{resource}}} 0.0' in text
    assert daemon._health.answer('/readyz')[0] == 200
