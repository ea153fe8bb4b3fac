# SPDX-License-Identifier: Apache-2.0
"""The how-to's files work as they are, with the local driver."""

import configparser
import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from kuryr_sriov import model
from kuryr_sriov.clients.kubernetes import objects
from kuryr_sriov.config import loading
from kuryr_sriov.drivers import local, nad
from kuryr_sriov.npwg import requests

HOWTO = Path(__file__).parents[4] / 'examples' / 'howto'
BASE = HOWTO.parents[1] / 'deploy' / 'base'
PLUGINS = {
    'kuryr_sriov.subnet_drivers': {'nad'},
    'kuryr_sriov.vif_drivers': {'local'},
    'kuryr_sriov.binding_drivers': {'netdevice', 'vfio-pci'},
}


def read(name):
    return yaml.safe_load((HOWTO / name).read_text())


@pytest.fixture
def conf(tmp_path):
    conf = loading.load_config(files=[str(HOWTO / 'kuryr.conf')])
    loading.read_section(conf, local.LocalVIFDriver)
    conf.set_override(
        'subnets_file', str(HOWTO / 'subnets.yaml'), 'sriov_local'
    )
    conf.set_override('database', str(tmp_path / 'sqlite'), 'sriov_local')
    return conf


@pytest.fixture
def pod():
    template = read('deployment.yaml')['spec']['template']
    metadata = {'namespace': 'default', 'name': 'nginx', 'uid': 'uid'}
    return {**template, 'metadata': {**template['metadata'], **metadata}}


def test_kuryr_conf_has_no_mistake(conf):
    loading.validate_config(conf, PLUGINS)
    assert conf.sriov.enable_pod_resource_service
    resources = loading.resource_mappings(conf)
    assert resources.driver_of('intel.com/physnet22') == 'vfio-pci'
    assert resources.driver_of('intel.com/physnet23') == 'netdevice'


def test_kuryr_conf_says_no_option_that_does_not_exist(conf):
    parser = configparser.ConfigParser(delimiters='=')
    parser.read(HOWTO / 'kuryr.conf')
    said = {group: set(parser[group]) for group in parser.sections()}
    assert said['sriov'] <= set(conf.sriov)
    assert said['sriov_local'] <= set(conf.sriov_local)


def test_the_pod_gets_both_vifs(conf, pod):
    driver = local.LocalVIFDriver(conf.sriov_local)
    subnet_driver = nad.NadSubnetsDriver(conf.sriov, driver.describe_subnet)
    resources = loading.resource_mappings(conf)
    found = []
    for entry in requests.entries_of(pod):
        request = requests.request_of(entry, read(f'{entry.name}.yaml'))
        subnets = subnet_driver.get_subnets(request)
        resource = resources.resource_of(subnets[0].physnet)
        found.append(
            dataclasses.replace(request, subnets=subnets, resource=resource)
        )
    requests.check_requested(found, pod)
    vifs = driver.request_vifs(requests.pod_of(pod), found)
    assert [(vif.ifname, vif.addresses, vif.vlan) for vif in vifs] == [
        ('net1', ('192.168.2.2/24',), 3501),
        ('net2', ('192.168.3.2/24',), 3502),
    ]
    assert conf.sriov.default_physnet_subnets == {
        request.subnets[0].physnet: request.subnets[0].id for request in found
    }


def test_device_plugin_offers_what_kuryr_conf_maps(conf):
    content = json.loads((HOWTO / 'device-plugin.json').read_text())
    offered = {
        pool['resourceName']: pool['selectors']['rootDevices']
        for pool in content['resourceList']
    }
    assert offered == {
        'physnet22': ['0000:02:00.0'],
        'physnet23': ['0000:02:00.1'],
    }
    assert set(offered) == set(conf.sriov.resource_driver_mappings)


def test_manifests_are_what_the_client_speaks():
    crd = yaml.safe_load((BASE / 'crd.yaml').read_text())
    group, plural = objects.PORTS.prefix, objects.PORTS.plural
    (version,) = crd['spec']['versions']
    assert f'/apis/{crd["spec"]["group"]}/{version["name"]}' == group
    assert crd['spec']['names']['plural'] == plural
    assert crd['metadata']['name'] == f'{plural}.{crd["spec"]["group"]}'
    schema = version['schema']['openAPIV3Schema']['properties']['spec']
    items = schema['properties']['vifs']['items']
    assert set(items['required']) <= set(model.Vif.__slots__)
    rules = yaml.safe_load_all((BASE / 'rbac.yaml').read_text())
    roles = {
        each['metadata']['name']
        for each in rules
        if each['kind'] == 'ClusterRole'
    }
    assert roles == {objects.CONTROLLER, objects.NODE}
