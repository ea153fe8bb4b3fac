# SPDX-License-Identifier: Apache-2.0
"""A pod's VIFs: asked for, told where they are, and never leaked.

kuryr-kubernetes failed in each of these ways. The provider is ``local``;
they hold for any.
"""

import copy
import json

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.cmd.demo import howto_files
from kuryr_sriov.controller import Controller
from kuryr_sriov.npwg.requests import pod_of

NETWORKS = 'k8s.v1.cni.cncf.io/networks'


@pytest.fixture
def files():
    return howto_files.read_howto(howto_files.default_folder())


@pytest.fixture
def asked():
    """Which NADs were asked for."""
    return []


@pytest.fixture
def controller(files, asked, tmp_path):
    """The how-to's, with its NADs in any namespace."""

    def get_nad(namespace, name):
        asked.append((namespace, name))
        return files.get_nad('default', name)

    conf = files.conf(tmp_path)
    conf.set_override('global_namespaces', ['other'], group='sriov')
    return Controller(conf, get_nad, lambda pod, vifs: None)


@pytest.fixture
def body(files):
    """The how-to's pod, to be changed."""
    return copy.deepcopy(dict(files.pod))


def test_the_provider_is_told_where_the_vif_is(world, controller, body):
    vifs = controller.request(body)
    node = world.start()
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    for attached in node.attach(sandbox, vifs):
        active = controller.activate(
            pod_of(body), attached.vif, attached.location
        )
        assert active.id == attached.vif.id
        assert active.active
    assert {owned.vif.active for owned in controller.vifs.list_vifs()} == {
        True
    }


def test_what_the_provider_does_not_know_is_refused(world, controller, body):
    """It is its answer that counts."""
    vifs = controller.request(body)
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    attached, _ = world.start().attach(sandbox, vifs)
    controller.release(pod_of(body))
    with pytest.raises(exceptions.ProviderRefused, match='released'):
        controller.activate(pod_of(body), attached.vif, attached.location)


def test_a_vif_is_active_when_the_provider_says_so(world, controller, body):
    vifs = controller.request(body)
    assert [vif.active for vif in vifs] == [False, False]
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    attached, _ = world.start().attach(sandbox, vifs)
    assert not attached.vif.active
    controller.activate(pod_of(body), attached.vif, attached.location)
    assert [vif.active for vif in controller.request(body)] == [True, False]


@pytest.mark.parametrize('resources', [{}, {'intel.com/physnet22': '1'}])
def test_a_pod_without_its_vfs_gets_no_port(controller, body, resources):
    body['spec']['containers'][0]['resources'] = {'requests': resources}
    with pytest.raises(exceptions.NotAllocated, match='physnet23'):
        controller.request(body)
    assert list(controller.vifs.list_vifs()) == []


def test_a_lookup_that_fails_leaks_no_port(controller, body):
    body['metadata']['annotations'][NETWORKS] = 'sriov-net1,sriov-net9'
    with pytest.raises(exceptions.KuryrSriovError):
        controller.request(body)
    assert list(controller.vifs.list_vifs()) == []


def test_the_pods_spec_is_only_read(controller, body):
    before = copy.deepcopy(body)
    controller.request(body)
    controller.request(body)
    controller.release(pod_of(body))
    assert body == before


def test_each_network_has_its_own_namespace_and_ifname(
    controller, body, asked
):
    body['metadata']['annotations'][NETWORKS] = (
        'other/sriov-net1@lan0, sriov-net2'
    )
    vifs = controller.request(body)
    assert asked == [('other', 'sriov-net1'), ('default', 'sriov-net2')]
    assert [(vif.network, vif.ifname) for vif in vifs] == [
        ('other/sriov-net1', 'lan0'),
        ('default/sriov-net2', 'net2'),
    ]


def test_an_error_in_the_second_leaks_no_first_port(files, controller, body):
    annotations = files.nads['default', 'sriov-net2']['metadata'][
        'annotations'
    ]
    config = json.loads(annotations['openstack.org/kuryr-config'])
    annotations['openstack.org/kuryr-config'] = json.dumps(
        config | {'allow': ['ips']}
    )
    body['metadata']['annotations'][NETWORKS] = (
        '[{"name": "sriov-net1"}, {"name": "sriov-net2", "ips": ["10.9.9.9"]}]'
    )
    with pytest.raises(exceptions.ProviderRefused, match=r'10\.9\.9\.9'):
        controller.request(body)
    assert list(controller.vifs.list_vifs()) == []
