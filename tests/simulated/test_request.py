# SPDX-License-Identifier: Apache-2.0
"""From a pod to published VIFs, and back."""

import copy
import dataclasses
import json
import threading
import types
from concurrent import futures

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.cmd.demo import howto_files
from kuryr_sriov.controller import Controller
from kuryr_sriov.npwg.requests import pod_of
from kuryr_sriov.testing.fixtures.interruption import tell_beginnings


@pytest.fixture
def files():
    return howto_files.read_howto(howto_files.default_folder())


class World:
    """The how-to's controller, with what it has published."""

    def __init__(self, files, path):
        self.files = files
        self.get_nad = files.get_nad
        self.published = {}
        self.steps = []
        self.conf = files.conf(path)
        self.controller = self.start()

    def start(self):
        return Controller(
            self.conf,
            self.get_nad,
            self.published.__setitem__,
            observe=tell_beginnings(self.steps.append),
        )

    def pod(self, uid='uid-1', annotation=None, requests=None):
        """The how-to's pod, or one that differs."""
        body = copy.deepcopy(dict(self.files.pod))
        body['metadata']['uid'] = uid
        if annotation is not None:
            body['metadata']['annotations'] = {
                'k8s.v1.cni.cncf.io/networks': annotation
            }
        if requests is not None:
            body['spec']['containers'][0]['resources'] = {'requests': requests}
        return body

    def vifs(self):
        return list(self.controller.vifs.list_vifs())


@pytest.fixture
def world(files, tmp_path):
    return World(files, tmp_path)


def test_the_pod_of_the_how_to_gets_two_vifs(world):
    vifs = world.controller.request(world.pod())
    ((pod, published),) = world.published.items()
    assert published == vifs
    assert pod.node == 'node1'
    assert [
        (v.ifname, v.network, v.resource, v.physnet, v.vlan) for v in vifs
    ] == [
        (
            'net1',
            'default/sriov-net1',
            'intel.com/physnet22',
            'physnet22',
            3501,
        ),
        (
            'net2',
            'default/sriov-net2',
            'intel.com/physnet23',
            'physnet23',
            3502,
        ),
    ]
    assert world.steps == [
        'networks',
        'subnets',
        'resources',
        'vifs',
        'publish',
    ]


def test_asking_again_changes_nothing(world):
    first = world.controller.request(world.pod())
    assert world.start().request(world.pod()) == first
    assert len(world.vifs()) == 2


def test_networks_of_others_are_left_alone(world):
    world.files.nads['default', 'macvlan'] = {
        'metadata': {'name': 'macvlan', 'namespace': 'default'}
    }
    pod = world.pod(annotation='macvlan,sriov-net2@data0')
    (vif,) = world.controller.request(pod)
    assert (vif.ifname, vif.physnet) == ('data0', 'physnet23')
    assert world.controller.request(world.pod('2', 'macvlan')) == ()
    assert len(world.published) == 1


def test_a_pod_without_the_annotation_is_nobodys_business(world):
    assert world.controller.request(world.pod(annotation='')) == ()
    assert world.published == {}


def test_too_few_requested_vfs_name_both_numbers(world):
    pod = world.pod(requests={'intel.com/physnet22': '1'})
    with pytest.raises(exceptions.NotAllocated, match='physnet23') as raised:
        world.controller.request(pod)
    assert '1' in str(raised.value)
    assert '0' in str(raised.value)
    assert world.vifs() == []


def test_a_nad_that_is_not_there_is_named_and_no_vif_is_made(world):
    pod = world.pod(annotation='sriov-net1,absent')
    with pytest.raises(exceptions.InvalidAnnotation, match='default/absent'):
        world.controller.request(pod)
    assert world.vifs() == []


def test_vifs_that_cannot_be_published_wait_for_the_next_request(world):
    def fails(pod, vifs):
        raise exceptions.TransientError('the API server is away')

    broken = Controller(world.conf, world.files.get_nad, fails)
    with pytest.raises(exceptions.TransientError, match='API server'):
        broken.request(world.pod())
    kept = [owned.vif for owned in world.vifs()]
    assert list(world.controller.request(world.pod())) == kept


def test_a_released_pod_leaves_nothing(world):
    world.controller.request(world.pod())
    world.controller.release(pod_of(world.pod()))
    world.controller.release(pod_of(world.pod()))
    assert world.vifs() == []


def test_the_provider_is_told_where_the_vf_is(world):
    vif, _ = world.controller.request(world.pod())
    assert not vif.active
    location = model.Location(
        'node1', '0000:02:10.0', '8086:10ca', vif.physnet
    )
    assert world.controller.activate(pod_of(world.pod()), vif, location).active


@pytest.mark.parametrize(('wait', 'seconds'), [(True, 60.0), (False, None)])
def test_a_host_may_ask_by_itself_whether_traffic_flows(
    world, monkeypatch, wait, seconds
):
    """Then the driver waits for nothing."""
    told = []
    activate_vif = world.controller.vifs.activate_vif

    def tell(pod, vif, location):
        told.append(vif.policy)
        return activate_vif(pod, vif, location)

    monkeypatch.setattr(world.controller.vifs, 'activate_vif', tell)
    made, _ = world.controller.request(world.pod())
    policy = model.Policy(active_timeout=60.0, mtu=1400)
    vif = dataclasses.replace(made, policy=policy)
    location = model.Location(
        'node1', '0000:02:10.0', '8086:10ca', vif.physnet
    )
    active = world.controller.activate(
        pod_of(world.pod()), vif, location, wait=wait
    )
    assert told == [model.Policy(active_timeout=seconds, mtu=1400)]
    assert active.policy == policy


def test_pods_of_machines_are_promised_networks_and_others_get_vifs(world):
    """One cluster, bare metal and VMs: the node's name decides."""
    world.conf.set_override('node_vif_drivers', {'vm-*': 'guest'}, 'sriov')
    world.controller = world.start()
    body = world.pod('uid-vm')
    body['spec']['nodeName'] = 'vm-1'
    promised = world.controller.request(body)
    assert all(vif.is_promise for vif in promised)
    assert world.published[pod_of(body)] == promised
    made = world.controller.request(world.pod())
    assert not any(vif.is_promise for vif in made)
    subnets = [
        world.controller.vifs.describe_subnet(each).network
        for each in world.conf.sriov.default_physnet_subnets.values()
    ]
    assert [vif.provider_network for vif in promised] == subnets
    assert [owned.vif for owned in world.controller.list_vifs()] == [*made]
    # each is told to the driver of its node
    found = dataclasses.replace(promised[0], id='port-1')
    place = model.Location('vm-1', '0000:00:06.0', '8086:1889', found.physnet)
    active = world.controller.activate(pod_of(body), found, place)
    assert active == dataclasses.replace(found, active=True)
    with pytest.raises(exceptions.ProviderRefused, match='port-1'):
        world.controller.activate(
            pod_of(world.pod()),
            found,
            dataclasses.replace(place, node='node1'),
        )
    assert world.controller.collect_orphans(lambda pod: True) == ()
    world.controller.release(pod_of(body))
    assert len(world.vifs()) == 2
    world.controller.release(pod_of(world.pod()))
    assert world.vifs() == []


def test_what_was_made_before_a_node_was_a_machine_is_given_back(world):
    """The pattern was written while the pod ran."""
    world.controller.request(world.pod())
    world.conf.set_override('node_vif_drivers', {'node*': 'guest'}, 'sriov')
    world.controller = world.start()
    world.controller.release(pod_of(world.pod()))
    assert world.vifs() == []


def test_orphans_are_those_whose_pod_is_gone(world):
    world.conf.set_override('orphan_grace', 0, group='sriov')
    world.controller = world.start()
    gone = world.controller.request(world.pod('uid-1'))
    world.controller.request(world.pod('uid-2'))
    asked = []

    def is_there(pod):
        asked.append((pod.namespace, pod.name, pod.uid))
        return pod.uid == 'uid-2'

    collected = world.controller.collect_orphans(is_there)
    assert sorted(collected) == sorted(vif.id for vif in gone)
    assert {owned.pod.uid for owned in world.vifs()} == {'uid-2'}
    name = world.files.pod['metadata']['name']
    assert sorted(asked) == [
        ('default', name, 'uid-1'),
        ('default', name, 'uid-2'),
    ]


def test_a_wrong_configuration_is_refused_at_once(world):
    world.conf.set_override('vif_driver', 'absent', group='sriov')
    with pytest.raises(exceptions.ConfigurationError, match='vif_driver'):
        world.start()


def counting(world):
    """The names of the NADs that are asked for from now on."""
    asked = []
    get_nad = world.files.get_nad

    def ask(namespace, name):
        asked.append(name)
        return get_nad(namespace, name)

    world.get_nad = ask
    return asked


@pytest.mark.parametrize(
    'networks', [['sriov-net1'] * 20000, [f'net-{n}' for n in range(20000)]]
)
def test_a_huge_annotation_costs_a_few_reads(world, networks):
    asked = counting(world)
    nad = world.files.nads['default', 'sriov-net1']
    world.files.nads.update({('default', name): nad for name in networks})
    with pytest.raises(exceptions.NotAllocated):
        world.start().request(world.pod(annotation=','.join(networks)))
    assert len(asked) <= 12
    assert world.vifs() == []


def test_a_network_of_others_is_read_once_however_often_it_is_named(world):
    asked = counting(world)
    world.files.nads['default', 'macvlan'] = {
        'metadata': {'name': 'macvlan', 'namespace': 'default'}
    }
    pod = world.pod(annotation=','.join(['macvlan'] * 1000))
    assert world.start().request(pod) == ()
    assert asked == ['macvlan']


def test_an_unchanged_pod_costs_nothing(world):
    asked = counting(world)
    controller = world.start()
    pod = world.pod()
    first = controller.request(pod)
    reads, published = list(asked), dict(world.published)
    world.published.clear()
    world.steps.clear()
    for count in range(10):
        pod['metadata']['resourceVersion'] = str(count)
        pod['status'] = {'phase': 'Running', 'podIP': f'10.0.0.{count}'}
        assert controller.request(pod) == first
    assert (asked, world.published, world.steps) == (reads, {}, [])
    controller.forget('uid-1')
    assert controller.request(pod) == first
    assert world.published == published


@pytest.mark.parametrize(
    'change',
    [
        {'annotation': 'sriov-net2@data0,sriov-net1'},
        {'requests': {'intel.com/physnet22': 2, 'intel.com/physnet23': 1}},
    ],
)
def test_a_changed_pod_is_looked_at(world, change):
    world.controller.request(world.pod())
    world.steps.clear()
    world.controller.request(world.pod(**change))
    assert world.steps


def test_a_pod_of_others_that_has_not_changed_is_not_read_again(world):
    asked = counting(world)
    world.files.nads['default', 'macvlan'] = {
        'metadata': {'name': 'macvlan', 'namespace': 'default'}
    }
    controller = world.start()
    for _ in range(3):
        assert controller.request(world.pod(annotation='macvlan')) == ()
    assert asked == ['macvlan']


def test_edits_of_an_annotation_do_not_add_up(world):
    for count in range(20):
        networks = f'sriov-net1@a{count},sriov-net2@b{count}'
        vifs = world.controller.request(world.pod(annotation=networks))
        kept = {owned.vif.id for owned in world.vifs()}
        assert kept == {vif.id for vif in vifs}


def test_networks_that_a_pod_no_longer_names_are_taken_from_its_node(world):
    world.controller.request(world.pod())
    assert world.controller.request(world.pod(annotation='')) == ()
    assert list(world.published.values()) == [()]
    assert world.vifs() == []


@pytest.mark.parametrize(
    ('spec', 'status'),
    [
        ({'hostNetwork': True}, {}),
        ({'nodeName': ''}, {}),
        ({}, {'phase': 'Succeeded'}),
        ({}, {'phase': 'Failed'}),
    ],
)
def test_a_pod_that_must_have_no_vifs_gets_none(world, spec, status):
    asked = counting(world)
    pod = world.pod()
    pod['spec'] |= spec
    pod['status'] = status
    assert world.start().request(pod) == ()
    assert (asked, world.published, world.vifs()) == ([], {}, [])


def test_a_pod_that_is_being_deleted_gets_no_vifs(world):
    pod = world.pod()
    pod['metadata']['deletionTimestamp'] = '2026-01-01T00:00:00Z'
    assert world.controller.request(pod) == ()
    assert world.vifs() == []


def test_a_pod_that_is_released_while_its_networks_are_read(world):
    reading, go = threading.Event(), threading.Event()

    def get_nad(namespace, name):
        reading.set()
        assert go.wait(30)
        return world.files.get_nad(namespace, name)

    world.get_nad = get_nad
    controller = world.start()
    pod = world.pod()
    with futures.ThreadPoolExecutor(2) as threads:
        requested = threads.submit(controller.request, pod)
        assert reading.wait(30)
        released = threads.submit(controller.release, pod_of(pod))
        while not controller._memory.is_released('uid-1'):
            assert not released.done()
        go.set()
        assert requested.result(30) == ()
        released.result(30)
    assert world.vifs() == []
    assert world.published == {}


def test_an_event_that_is_seen_after_the_release_makes_nothing(world):
    world.controller.request(world.pod())
    world.controller.release(pod_of(world.pod()))
    assert world.controller.request(world.pod()) == ()
    assert world.vifs() == []


def test_a_pod_takes_no_network_of_another_namespace(world):
    nad = world.files.nads['default', 'sriov-net1']
    world.files.nads['secret', 'sriov-net1'] = nad
    pod = world.pod(annotation='secret/sriov-net1')
    pod['metadata']['namespace'] = 'mine'
    with pytest.raises(exceptions.InvalidAnnotation) as caught:
        world.controller.request(pod)
    message = str(caught.value)
    assert 'secret/sriov-net1, which is for pods of namespace secret' in (
        message
    )
    assert 'add secret to [sriov] global_namespaces' in message
    assert world.vifs() == []

    world.conf.set_override('global_namespaces', ['secret'], group='sriov')
    assert len(world.start().request(pod)) == 1


def test_a_pod_takes_a_network_of_its_own_or_a_global_namespace(world):
    nads = world.files.nads
    nads['mine', 'sriov-net1'] = nads['default', 'sriov-net1']
    pod = world.pod(annotation='sriov-net1,default/sriov-net2')
    pod['metadata']['namespace'] = 'mine'
    assert len(world.controller.request(pod)) == 2


def test_isolation_of_namespaces_can_be_switched_off(world):
    nads = world.files.nads
    nads['secret', 'sriov-net1'] = nads['default', 'sriov-net1']
    pod = world.pod(annotation='secret/sriov-net1')
    pod['metadata']['namespace'] = 'mine'
    world.conf.set_override('namespace_isolation', False, group='sriov')
    assert len(world.start().request(pod)) == 1


def test_a_network_of_others_may_be_of_any_namespace(world):
    """Multus isolates it, or not: that is not for us to say."""
    world.files.nads['secret', 'macvlan'] = {
        'metadata': {'name': 'macvlan', 'namespace': 'secret'}
    }
    assert world.controller.request(world.pod('1', 'secret/macvlan')) == ()


def test_a_default_route_out_of_reach_is_refused_for_every_driver(world):
    networks = json.dumps(
        [{'name': 'sriov-net1', 'default-route': ['192.168.3.1']}]
    )
    with pytest.raises(exceptions.InvalidAnnotation, match='router of the'):
        world.controller.request(world.pod(annotation=networks))
    assert world.vifs() == []


def test_the_controller_that_leads_again_looks_again(world):
    other = world.start()
    world.controller.gain_leadership()
    vifs = world.controller.request(world.pod())
    other.gain_leadership()
    assert other.request(world.pod()) == vifs
    other.release(pod_of(world.pod()))
    assert world.vifs() == []
    world.published.clear()
    world.controller.gain_leadership()
    again = world.controller.request(world.pod('uid-1'))
    assert {owned.vif.id for owned in world.vifs()} == {v.id for v in again}
    assert world.published


def test_a_wire_that_nobody_tells_is_not_used_whatever_the_driver(world):
    """A vendor's driver may hand on what Neutron did not say."""
    described = world.controller.vifs.describe_subnet
    step = next(
        step
        for step in world.controller._pipeline._steps
        if step.name == 'subnets'
    )
    step._driver = types.SimpleNamespace(
        get_subnets=lambda request: tuple(
            dataclasses.replace(described(id), physnet='')
            for id in request.subnet_ids
        )
    )
    with pytest.raises(exceptions.InvalidAnnotation, match='network_physnets'):
        world.controller.request(world.pod())
    assert world.vifs() == []
