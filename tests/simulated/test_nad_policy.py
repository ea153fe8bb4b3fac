# SPDX-License-Identifier: Apache-2.0
"""From the keys of a NAD to what the PF holds for the pod's VF."""

import copy
import dataclasses
import json

import pytest
from worlds import PFS

from kuryr_sriov import exceptions
from kuryr_sriov.cmd.demo import howto_files
from kuryr_sriov.controller import Controller

CONFIG = 'openstack.org/kuryr-config'
NETWORKS = 'k8s.v1.cni.cncf.io/networks'
GUID = '00:11:22:33:44:55:66:aa'


@pytest.fixture
def pfs():
    """Of a NIC that can do all of it."""
    return [dataclasses.replace(pf, driver='ice') for pf in PFS]


@pytest.fixture
def ask(tmp_path):
    """Asks for the how-to's pod, whose first NAD has these keys besides."""
    files = howto_files.read_howto(howto_files.default_folder())
    nads = copy.deepcopy(dict(files.nads))
    controller = Controller(
        files.conf(tmp_path),
        lambda namespace, name: nads[namespace, name],
        lambda pod, vifs: None,
    )

    def ask(**keys):
        annotations = nads['default', 'sriov-net1']['metadata']['annotations']
        config = json.loads(annotations[CONFIG])
        annotations[CONFIG] = json.dumps(config | keys)
        return controller.request(files.pod)

    ask.controller, ask.pod = controller, files.pod
    return ask


@pytest.mark.parametrize(
    ('key', 'value', 'setting', 'held'),
    [
        ('trusted', True, 'trust', True),
        ('spoofchk', False, 'spoofchk', False),
        ('linkState', 'enable', 'link_state', 'enable'),
        ('minTxRate', 50, 'min_tx_rate', 50),
        ('maxTxRate', 200, 'max_tx_rate', 200),
        ('vlanQos', 3, 'vlan_qos', 3),
    ],
)
def test_a_setting_of_the_nad_is_held_by_the_pf_and_taken_back(
    world, ask, key, value, setting, held
):
    first, second = world.vf(0, 0), world.vf(1, 0)
    before = world.node.state()[first.pci].settings
    assert getattr(before, setting) != held
    node, sandbox = world.start(), world.sandbox(1, first, second)

    node.attach(sandbox, ask(**{key: value}))

    assert getattr(world.node.state()[first.pci].settings, setting) == held
    assert getattr(world.node.state()[second.pci].settings, setting) != held
    node.detach(sandbox.container_id)
    assert world.node.state()[first.pci].settings == before


def test_the_mtu_of_the_nad_is_that_of_the_interface(ask):
    first, second = ask(mtu=1280)
    assert first.mtu == 1280 != second.mtu


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (
            {'securityGroupIds': ['one'], 'activeTimeout': 5, 'mtu': 1300},
            'NetworkAttachmentDefinition default/sriov-net1: the VIF driver '
            'LocalVIFDriver cannot do securityGroupIds, activeTimeout; '
            'remove that from its openstack.org/kuryr-config.',
        ),
        (
            {'mtu': 9999},
            'NetworkAttachmentDefinition default/sriov-net1: mtu 9999 is '
            'above that of network',
        ),
        (
            {'trusted': 'yes'},
            'NetworkAttachmentDefinition default/sriov-net1: '
            "openstack.org/kuryr-config: trusted 'yes' is neither true nor "
            'false; write true, or leave it out.',
        ),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_no_vif(ask, keys, message):
    with pytest.raises(exceptions.InvalidAnnotation) as caught:
        ask(**keys)
    assert str(caught.value).startswith(message)
    assert list(ask.controller.vifs.list_vifs()) == []


def choose_guid(pod):
    """Have the pod's author choose one for the first network."""
    pod['metadata']['annotations'][NETWORKS] = json.dumps(
        [
            {'name': 'sriov-net1', 'infiniband-guid': GUID.upper()},
            {'name': 'sriov-net2'},
        ]
    )


def test_a_guid_is_the_vifs_where_the_nad_allows_it(ask):
    choose_guid(ask.pod)
    vifs = ask(allow=['infiniband-guid'])
    assert [vif.guid for vif in vifs] == [GUID, '']


def test_no_pod_chooses_a_guid_unasked(ask):
    choose_guid(ask.pod)
    with pytest.raises(
        exceptions.InvalidAnnotation,
        match='its pods may not choose infiniband-guid',
    ):
        ask(allow=['ips', 'mac'])
