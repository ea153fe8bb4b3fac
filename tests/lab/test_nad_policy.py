# SPDX-License-Identifier: Apache-2.0
"""From the keys of a NAD to what a real PF holds for the pod's VF.

By the controller's whole way, with the local driver; or refused by the NIC,
by the setting's name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from labnode import Lab, Netns, VirtualFunction
from labpods import KERNEL, attach

from kuryr_sriov import exceptions, model
from kuryr_sriov.config import loading
from kuryr_sriov.controller import Controller
from kuryr_sriov.node import Node
from kuryr_sriov.npwg.nad_policy import KEYS

MakeNetns = Callable[[], Netns]
RESOURCE = f'intel.com/{KERNEL}'
CONF = """\
[sriov]
vif_driver = local
resource_driver_mappings = netdevice:netdevice
state_dir = {folder}/controller
[sriov_local]
database = {folder}/local.sqlite
subnets_file = {folder}/subnets.yaml
"""
SUBNETS = """\
subnets:
- {id: lab-subnet, network: lab-network, physnet: netdevice,
   cidr: 192.0.2.0/24, vlan: 100, mtu: 1500}
"""
CONFIG = {'driverType': 'sriov', 'subnetId': 'lab-subnet'}
POD = {
    'metadata': {
        'namespace': 'default',
        'name': 'web',
        'uid': 'uid-web',
        'annotations': {'k8s.v1.cni.cncf.io/networks': 'lab'},
    },
    'spec': {
        'nodeName': 'lab',
        'containers': [
            {'name': 'c', 'resources': {'requests': {RESOURCE: '1'}}}
        ],
    },
}


@pytest.fixture
def vf(
    lab: Lab, make_vfs: Callable[..., list[VirtualFunction]]
) -> VirtualFunction:
    return make_vfs(lab.pfs[0], 1)[0]


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., model.Vif]:
    """``ask(**keys)``: the VIF of a pod whose NAD has these keys."""
    (tmp_path / 'controller').mkdir()
    (tmp_path / 'subnets.yaml').write_text(SUBNETS)
    file = tmp_path / 'controller.conf'
    file.write_text(CONF.format(folder=tmp_path))
    conf = loading.load_config(files=[str(file)])

    def ask(**keys: Any) -> model.Vif:
        config = json.dumps({**CONFIG, **keys})
        nad = {
            'metadata': {'annotations': {'openstack.org/kuryr-config': config}}
        }
        controller = Controller(
            conf, lambda _namespace, _name: nad, lambda _pod, _vifs: None
        )
        (vif,) = controller.request(POD)
        return vif

    return ask


HELD = {
    'trusted': (True, lambda vf, pod: vf.info()['trust']),
    'spoofchk': (False, lambda vf, pod: vf.info()['spoofchk']),
    'maxTxRate': (200, lambda vf, pod: vf.info()['rate']['max_tx']),
    'vlanQos': (3, lambda vf, pod: vf.info()['vlan_list'][0]['qos']),
    'mtu': (1400, lambda vf, pod: pod.link('net1')['mtu']),
}
"""A value, and where ``ip -d -j link`` shows it."""

REFUSED = {
    'linkState': ('enable', 'link_state'),
    'minTxRate': (50, 'min_tx_rate'),
}
"""A value that igb refuses, and the setting that the refusal names."""


@pytest.mark.parametrize('key', HELD)
def test_the_vf_has_what_the_nad_says_and_gives_it_back(
    vf: VirtualFunction,
    node: Node,
    make_netns: MakeNetns,
    ask: Callable[..., model.Vif],
    key: str,
) -> None:
    before, pod = vf.state(), make_netns()
    value, read = HELD[key]
    attach(node, vf, ask(**{key: value}), pod)
    assert read(vf, pod) == value
    node.check(pod.name)
    node.detach(pod.name)
    assert vf.state() == before


@pytest.mark.parametrize('key', REFUSED)
def test_what_the_nic_cannot_do_is_refused_by_name_and_leaves_nothing(
    vf: VirtualFunction,
    node: Node,
    make_netns: MakeNetns,
    ask: Callable[..., model.Vif],
    key: str,
) -> None:
    before, pod = vf.state(), make_netns()
    value, setting = REFUSED[key]
    with pytest.raises(exceptions.UnsupportedSetting) as caught:
        attach(node, vf, ask(**{key: value}), pod)
    assert caught.value.setting == setting
    assert f'{vf.pci}: {setting} {value} cannot be set' in str(caught.value)
    assert vf.state() == before
    assert node.ledger.all() == ()


def test_every_key_that_is_a_setting_of_a_vf_is_tried_here() -> None:
    settings = {n for n, key in KEYS.items() if key.field in model.VF_POLICY}
    assert {*HELD, *REFUSED} == settings
