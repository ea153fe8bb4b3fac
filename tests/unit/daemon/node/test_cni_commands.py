# SPDX-License-Identifier: Apache-2.0
"""What each request of the runtime has the node do, and in which order."""

import dataclasses
import types

import pytest
from values import VIF

from kuryr_sriov import Attachment, Drifted, Pod, Sandbox, TransientError
from kuryr_sriov.model import AttachedVif, DeviceInfo, Location, VfState
from kuryr_sriov_daemon.node.cni_commands import CniCommands
from kuryr_sriov_daemon.node.cni_request import CniError, CniRequest
from kuryr_sriov_daemon.node.deadlines import Limits

POD = Pod('default', 'web', 'uid-web')
OTHER = dataclasses.replace(POD, name='db', uid='uid-db')
PCI = '0000:02:10.0'
LIMITS = Limits(request=100, vifs=60, active=5)
ATTACHED = AttachedVif(
    vif=VIF,
    location=Location('node1', PCI, '8086:10ca', 'physnet22'),
    device_info=DeviceInfo(pci=PCI),
    driver='netdevice',
)
PRIMARY = {'cniVersion': '1.0.0', 'interfaces': [{'name': 'eth0'}]}


def request_for(command, **more):
    fields = {
        'version': '1.0.0',
        'container_id': 'c1',
        'netns': '/run/netns/c1',
        'ifname': 'net1',
        'pod_namespace': 'default',
        'pod_name': 'web',
        'pod_uid': 'uid-web',
        'config': {'prevResult': PRIMARY},
    }
    return CniRequest(command, **{**fields, **more})


def record_of(pod, container_id='c1', ifname='net1'):
    return Attachment(
        Sandbox(container_id, f'/run/netns/{container_id}', pod),
        dataclasses.replace(VIF, ifname=ifname),
        PCI,
        driver='netdevice',
        original=VfState('iavf'),
    )


class World:
    """The node, what it knows of pods, and the reporter, in one.

    :ivar calls: what they were asked, in order.
    :ivar errors: what a call of that name raises.
    """

    def __init__(self, way='chained', limits=LIMITS):
        self.calls, self.errors = [], {}
        self.records = [record_of(POD)]
        self.vifs = (VIF,)
        self.wants_networks = True
        self.is_complete, self.trouble = True, None
        self.pods = {
            POD.uid: types.SimpleNamespace(is_over=False),
            OTHER.uid: types.SimpleNamespace(is_over=True),
        }
        self.commands = CniCommands(
            self, self, self, self, way, limits, lambda: self.note('repair')
        )
        self.while_waiting = lambda: None

    def note(self, *call):
        self.calls.append(call)
        if call[0] in self.errors:
            raise self.errors[call[0]]

    def serve(self, command, gone=lambda: False, **more):
        return self.commands.serve(request_for(command, **more), gone)

    # The view.

    def wait_for_pod(self, namespace, name, uid, until, raise_if_over):
        self.note('wait for pod', namespace, name, uid)
        self.while_waiting()
        raise_if_over()
        return types.SimpleNamespace(
            pod=POD, wants_networks=self.wants_networks
        )

    def wait_for_vifs(self, known, until, raise_if_over):
        self.note('wait for vifs', known.pod.uid)
        raise_if_over()
        return self.vifs

    def wait_for_active(self, uid, slots, until, raise_if_over):
        self.note('wait for active', uid, slots)
        raise_if_over()

    def wake_waiters(self):
        self.note('wake waiters')

    def find_pod(self, namespace, name, uid):
        self.note('find pod', namespace, name, uid)
        return types.SimpleNamespace(pod=POD)

    def get_port(self, uid):
        return types.SimpleNamespace(vifs=self.vifs)

    def list_pods(self):
        return self.pods

    # The node.

    def attach(self, sandbox, vifs, devices, timeout):
        assert 90 < timeout <= LIMITS.request
        self.note('attach', sandbox, vifs, devices)
        return (ATTACHED,)

    def detach(self, container_id, ifname, timeout):
        assert 90 < timeout <= LIMITS.request
        self.note('detach', container_id, ifname)

    def announce(self, container_id):
        self.note('announce', container_id)

    def attachments(self, container_id=''):
        return [
            record
            for record in self.records
            if container_id in ('', record.sandbox.container_id)
        ]

    def collect_garbage(self, valid):
        self.note('collect garbage', valid)

    def reconcile(self):
        self.note('reconcile')

    def check(self, container_id, ifname):
        self.note('check', container_id, ifname)

    # The reporter.

    def report(self, pod):
        self.note('report', pod.uid)


WAITS = [
    ('wait for pod', 'default', 'web', 'uid-web'),
    ('wait for vifs', 'uid-web'),
]
ATTACH = 'attach', Sandbox('c1', '/run/netns/c1', POD), (VIF,), ()
ACTIVE = 'wait for active', 'uid-web', {VIF.id: PCI}


@pytest.fixture
def world():
    return World()


def test_an_add_waits_attaches_reports_and_waits_for_traffic(world):
    result = world.serve('ADD')
    assert world.calls == [*WAITS, ATTACH, ('report', 'uid-web'), ACTIVE]
    names = [interface['name'] for interface in result['interfaces']]
    assert names[0] == 'eth0'
    assert 'net1' in names


def test_an_add_that_need_not_wait_for_traffic_does_not():
    world = World(limits=dataclasses.replace(LIMITS, active=0))
    world.serve('ADD')
    assert world.calls == [*WAITS, ATTACH, ('report', 'uid-web')]


@pytest.mark.parametrize('way', ['chained', 'delegate'])
def test_a_pod_without_networks_is_asked_for_by_multus_only(way):
    world = World(way)
    world.wants_networks = False
    world.serve('ADD')
    attaches = way == 'delegate'
    assert (ATTACH in world.calls) is attaches
    assert (WAITS[1] in world.calls) is attaches


def test_a_pod_of_other_networks_is_left_alone(world):
    world.vifs = ()
    assert world.serve('ADD') == PRIMARY
    assert world.calls == WAITS


def test_an_add_out_of_place_is_refused(world):
    with pytest.raises(CniError, match='there is no prevResult') as raised:
        world.serve('ADD', config={})
    assert raised.value.code == 7
    assert world.calls == []


def test_an_add_that_nobody_waits_for_ends(world):
    with pytest.raises(TransientError, match='the runtime has given up'):
        world.serve('ADD', gone=lambda: True)
    assert world.calls == WAITS[:1]


def test_an_add_ends_with_the_daemon(world):
    world.while_waiting = world.commands.drain
    with pytest.raises(TransientError, match='its successor serves this'):
        world.serve('ADD')
    assert world.calls == [*WAITS[:1], ('wake waiters',)]


def test_an_add_ends_when_its_sandbox_is_deleted(world):
    world.while_waiting = lambda: world.serve('DEL')
    with pytest.raises(TransientError, match='has deleted this sandbox'):
        world.serve('ADD')
    assert world.calls == [
        *WAITS[:1],
        *(('wake waiters',), ('detach', 'c1', ''), ('report', 'uid-web')),
    ]


def test_an_add_whose_traffic_does_not_flow_is_undone(world):
    world.errors['wait for active'] = TransientError('no traffic')
    with pytest.raises(TransientError, match='no traffic'):
        world.serve('ADD')
    assert world.calls == [
        *(*WAITS, ATTACH, ('report', 'uid-web'), ACTIVE),
        *(('detach', 'c1', ''), ('report', 'uid-web')),
    ]


def test_neighbours_are_told_once_an_add_is_answered(world):
    world.commands.finish(request_for('ADD'), True)
    assert world.calls == [('announce', 'c1')]
    world.commands.finish(request_for('DEL'), True)
    world.commands.finish(request_for('DEL'), False)
    assert world.calls == [('announce', 'c1')]


@pytest.mark.parametrize('error', [None, TransientError('busy')])
def test_an_add_whose_answer_nobody_took_is_undone_now_or_later(world, error):
    if error:
        world.errors['detach'] = error
        with pytest.raises(TransientError, match='busy'):
            world.commands.finish(request_for('ADD'), False)
    else:
        world.commands.finish(request_for('ADD'), False)
    assert world.calls == [
        *(('detach', 'c1', ''), ('report', 'uid-web'), ('repair',)),
    ]


@pytest.mark.parametrize(
    ('way', 'ifname'), [('chained', ''), ('delegate', 'net1')]
)
def test_a_del_wakes_an_add_and_reports_the_pods_it_was_of(way, ifname):
    world = World(way)
    world.records += [
        record_of(POD, ifname='net2'),
        record_of(OTHER, container_id='c2'),
    ]
    assert world.serve('DEL') is None
    assert world.calls == [
        *(('wake waiters',), ('detach', 'c1', ifname)),
        ('report', 'uid-web'),
    ]


def test_a_check_is_about_what_is_attached(world):
    assert world.serve('CHECK') is None
    assert world.calls == [('check', 'c1', '')]


def test_a_check_of_a_pod_without_its_vfs_says_which_it_lacks(world):
    world.records = []
    with pytest.raises(Drifted, match='has no VFs, but was promised net1;'):
        world.serve('CHECK')
    assert world.calls == [('find pod', 'default', 'web', 'uid-web')]
    world.vifs = ()
    assert world.serve('CHECK') is None


def test_a_delegate_checks_its_own_interface_whatever_is_on_record():
    world = World('delegate')
    world.records = []
    world.serve('CHECK')
    assert world.calls == [('check', 'c1', 'net1')]


def test_gc_keeps_what_runs_and_what_the_runtime_knows(world):
    world.records = [
        record_of(POD, container_id='runs'),
        record_of(OTHER, container_id='over'),
        record_of(Pod('default', 'x', 'uid-x'), container_id='unknown'),
    ]
    valid = [{'containerID': 'c1', 'ifname': 'eth0'}]
    world.serve('GC', config={'cni.dev/valid-attachments': valid})
    assert world.calls == [
        ('collect garbage', {'c1', 'runs'}),
        ('reconcile',),
    ]


def test_gc_of_a_delegate_gives_back_what_nobody_owns_only():
    world = World('delegate')
    world.serve('GC', config={'cni.dev/valid-attachments': []})
    assert world.calls == [('reconcile',)]


def test_gc_that_names_no_sandboxes_does_nothing(world):
    assert world.serve('GC', config={}) is None
    assert world.calls == []


def test_status_tells_why_no_pod_can_be_served(world):
    assert world.serve('STATUS') is None
    world.is_complete = False
    with pytest.raises(CniError, match=r'has not told which.*; it is asked'):
        world.serve('STATUS')
    world.trouble = TransientError('401')
    with pytest.raises(CniError, match=r'has not told which pods.*; 401'):
        world.serve('STATUS')
    world.commands.drain()
    with pytest.raises(CniError, match='the node daemon ends') as raised:
        world.serve('STATUS')
    assert raised.value.code == 50
