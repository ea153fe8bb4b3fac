# SPDX-License-Identifier: Apache-2.0
"""The how-to's networks, once for each way in."""

import json

import pytest
import yaml

from kuryr_sriov.cmd.demo import howto_files
from kuryr_sriov_daemon.node.cni_request import VERSIONS
from kuryr_sriov_daemon.node.conflist import TYPE

FOLDER = howto_files.default_folder()
CONFIG = 'openstack.org/kuryr-config'
RESOURCE = 'k8s.v1.cni.cncf.io/resourceName'


@pytest.mark.parametrize(
    ('name', 'resource'),
    [
        ('sriov-net1', 'intel.com/physnet22'),
        ('sriov-net2', 'intel.com/physnet23'),
    ],
)
def test_the_networks_for_multus_are_those_of_the_how_to(name, resource):
    plain = yaml.safe_load((FOLDER / f'{name}.yaml').read_text())
    found = {
        nad['metadata']['name']: nad
        for nad in yaml.safe_load_all((FOLDER / 'multus.yaml').read_text())
    }[name]
    ours = plain['metadata']['annotations'][CONFIG]
    annotations = found['metadata']['annotations']
    assert json.loads(annotations[CONFIG]) == json.loads(ours)
    assert annotations[RESOURCE] == resource
    config = json.loads(found['spec']['config'])
    assert config['type'] == TYPE
    assert config['cniVersion'] in VERSIONS
