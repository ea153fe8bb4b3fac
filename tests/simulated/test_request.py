# SPDX-License-Identifier: Apache-2.0
"""From a pod to published VIFs, and back."""

import copy

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.cmd.demo import howto_files
from kuryr_sriov.controller import Controller
from kuryr_sriov.testing.fixtures.interruption import tell_beginnings


@pytest.fixture
def files():
    return howto_files.read(howto_files.default_folder())


class World:
    """The how-to's controller, with what it has published."""

    def __init__(self, files, path):
        self.files = files
        self.published = {}
        self.steps = []
        self.conf = files.conf(path)
        self.controller = self.start()

    def start(self):
        return Controller(
            self.conf,
            self.files.get_nad,
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
    world.controller.release(world.pod())
    world.controller.release(world.pod())
    assert world.vifs() == []


def test_the_provider_is_told_where_the_vf_is(world):
    vif, _ = world.controller.request(world.pod())
    assert not vif.active
    location = model.Location(
        'node1', '0000:02:10.0', '8086:10ca', vif.physnet
    )
    assert world.controller.activate(vif, location).active


def test_orphans_are_those_whose_pod_is_gone(world):
    world.conf.set_override('orphan_grace_period', 0, group='sriov_local')
    world.controller = world.start()
    world.controller.request(world.pod('uid-1'))
    world.controller.request(world.pod('uid-2'))
    gone = world.controller.collect_orphans({'uid-2'})
    assert len(gone) == 2
    assert {owned.pod_uid for owned in world.vifs()} == {'uid-2'}


def test_a_wrong_configuration_is_refused_at_once(world):
    world.conf.set_override('vif_driver', 'absent', group='sriov')
    with pytest.raises(exceptions.ConfigurationError, match='vif_driver'):
        world.start()
