# SPDX-License-Identifier: Apache-2.0
"""Every mistake in [sriov] is reported: option, offending part, remedy."""

import pytest

from kuryr_sriov.config import loading
from kuryr_sriov.exceptions import ConfigurationError

PLUGINS = {
    'kuryr_sriov.subnet_drivers': ['nad'],
    'kuryr_sriov.vif_drivers': ['local', 'neutron'],
    'kuryr_sriov.binding_drivers': ['vfio-pci', 'netdevice'],
    'kuryr_sriov.attachment_hooks': ['mark'],
}
UUID = '4c1b7b86-9d5e-4c39-8d0e-3a6a5d0b2f22'


@pytest.fixture
def load(tmp_path):
    def load(**options):
        path = tmp_path / 'kuryr.conf'
        lines = [f'{name} = {text}\n' for name, text in options.items()]
        path.write_text(''.join(['[sriov]\n', *lines]))
        return loading.load_config(files=[str(path)])

    return load


@pytest.fixture
def problems(load):
    def problems(**options):
        with pytest.raises(ConfigurationError) as caught:
            loading.validate_config(load(**options), PLUGINS)
        return list(caught.value.problems)

    return problems


MISTAKES = [
    # the silent misparse of a forgotten colon
    (
        {'resource_driver_mappings': 'p1:vfio-pci,p2,p3:vfio-pci'},
        "[sriov] resource_driver_mappings: 'p2' is not NAME:VALUE; "
        'correct the value.',
    ),
    (
        {'default_physnet_subnets': 'p1'},
        "[sriov] default_physnet_subnets: 'p1' is not NAME:VALUE; "
        'correct the value.',
    ),
    (
        {'default_physnet_subnets': f'p1:{UUID},'},
        '[sriov] default_physnet_subnets: there is a comma too many; '
        'correct the value.',
    ),
    (
        {'resource_driver_mappings': ':vfio-pci,p1:'},
        "[sriov] resource_driver_mappings: ':vfio-pci' is not NAME:VALUE, "
        "'p1:' is not NAME:VALUE; correct the value.",
    ),
    (
        {'resource_driver_mappings': 'p1:vfio-pci,p1:netdevice'},
        "[sriov] resource_driver_mappings: 'p1' is there twice; correct "
        'the value.',
    ),
    (
        {'attachment_hooks': 'marc'},
        "[sriov] attachment_hooks: there is no hook 'marc'; choose one that "
        'is installed (mark).',
    ),
    (
        {'attachment_hooks': 'mark,mark'},
        "[sriov] attachment_hooks: hook 'mark' is there twice; remove one.",
    ),
    # a PCI address cannot be a key
    (
        {'resource_driver_mappings': '0000:02:10.0:vfio-pci'},
        '[sriov] resource_driver_mappings: there is no driver '
        "'02:10.0:vfio-pci' (resource '0000'); choose one that is installed "
        '(netdevice, vfio-pci).',
    ),
    (
        {'resource_driver_mappings': 'p1:vfio'},
        "[sriov] resource_driver_mappings: there is no driver 'vfio' "
        "(resource 'p1'); choose one that is installed (netdevice, "
        'vfio-pci).',
    ),
    (
        {'resource_driver_mappings': 'intel.com/p1:vfio-pci'},
        "[sriov] resource_driver_mappings: 'intel.com/p1' is not a resource "
        'name; use letters, digits, - and _ only, without prefix.',
    ),
    (
        {'physnet_resource_mappings': 'p1:r1'},
        "[sriov] resource_driver_mappings: resource 'r1' has no driver; "
        "add 'r1:DRIVER'.",
    ),
    (
        {'physnet_resource_mappings': 'p1:r.1'},
        "[sriov] physnet_resource_mappings: 'r.1' is not a resource name; "
        'use letters, digits, - and _ only, without prefix.',
    ),
    (
        {
            'physnet_resource_mappings': 'p1:r1,p2:r1',
            'resource_driver_mappings': 'r1:vfio-pci',
        },
        "[sriov] physnet_resource_mappings: resource 'r1' is on physnets "
        'p1, p2; give each physnet a resource of its own.',
    ),
    (
        {
            'default_physnet_subnets': f'p1:{UUID},p2:{UUID}',
            'physnet_resource_mappings': 'p1:r1',
            'resource_driver_mappings': 'r1:vfio-pci',
        },
        "[sriov] physnet_resource_mappings: physnet 'p2' of "
        "default_physnet_subnets has no resource; add 'p2:RESOURCE'.",
    ),
    (
        {
            'default_physnet_subnets': 'p1:vlan-sriov-subnet-1',
            'resource_driver_mappings': 'p1:vfio-pci',
        },
        "[sriov] default_physnet_subnets: 'vlan-sriov-subnet-1' (physnet "
        '\'p1\') is not a UUID; set the id that "openstack subnet show" '
        'prints.',
    ),
    # resources are called like their physnets
    (
        {'default_physnet_subnets': f'p1:{UUID}'},
        "[sriov] resource_driver_mappings: resource 'p1' has no driver; "
        "add 'p1:DRIVER'.",
    ),
    (
        {'device_plugin_resource_prefix': 'intel.com/'},
        "[sriov] device_plugin_resource_prefix: 'intel.com/' contains a "
        "slash; set what is before it, such as 'intel.com'.",
    ),
    (
        {'device_plugin_resource_prefix': ''},
        "[sriov] device_plugin_resource_prefix: '' is not a DNS name in "
        'lower case; set the resourcePrefix of the device plugin.',
    ),
    (
        {'node_vif_drivers': 'vm-*:gast'},
        "[sriov] node_vif_drivers: there is no driver 'gast' (for 'vm-*'); "
        'choose one that is installed (local, neutron).',
    ),
    (
        {'guest_macs': '0000:00:06.0:fa:16:3e:00:00:01'},
        "[sriov] guest_macs: '0000:00:06.0:fa:16:3e:00:00:01' is not "
        'PCI=MAC; write it in full and in lower case, as '
        "'0000:00:06.0=fa:16:3e:00:00:01'.",
    ),
    (
        {'vif_driver': 'neutrom'},
        "[sriov] vif_driver: there is no driver 'neutrom'; choose one that "
        'is installed (local, neutron).',
    ),
    (
        {'subnet_driver': 'default'},
        "[sriov] subnet_driver: there is no driver 'default'; choose one "
        'that is installed (nad).',
    ),
    (
        {'state_dir': 'state'},
        "[sriov] state_dir: 'state' is not an absolute path; let it start "
        'with /.',
    ),
    (
        {'enable_node_annotations': 'perhaps'},
        '[sriov] enable_node_annotations: Unexpected boolean value '
        "'perhaps'; correct the value.",
    ),
    (
        {'device_timeout': 'ten'},
        '[sriov] device_timeout: could not convert string to float: '
        "'ten'; correct the value.",
    ),
    (
        {'node_name': '$hostname'},
        '[sriov] node_name: no such option hostname in group [sriov]; '
        'correct the value.',
    ),
]


@pytest.mark.parametrize(('options', 'message'), MISTAKES)
def test_a_mistake_is_reported_once(problems, options, message):
    assert problems(**options) == [message]


@pytest.mark.parametrize(
    'option', ['device_timeout', 'pf_lock_timeout', 'kubelet_timeout']
)
@pytest.mark.parametrize('text', ['0', '-1', 'nan', 'inf'])
def test_every_wait_has_a_deadline(problems, option, text):
    assert problems(**{option: text}) == [
        f'[sriov] {option}: {float(text)} is no time to wait; set a number '
        f'of seconds greater than 0.'
    ]


def test_all_mistakes_are_reported_together(problems):
    found = problems(
        kubelet_timeout='0',
        default_physnet_subnets='p1:x,p2',
        physnet_resource_mappings='p1:a/b',
        resource_driver_mappings='r1:vfio',
        device_plugin_resource_prefix='a/b',
        vif_driver='x',
    )
    assert [line.split(':')[0].split()[1] for line in found] == [
        'default_physnet_subnets',
        'resource_driver_mappings',
        'vif_driver',
        'kubelet_timeout',
        'device_plugin_resource_prefix',
        'physnet_resource_mappings',
    ]


def test_an_unreadable_mapping_causes_no_follow_up_errors(problems):
    assert problems(
        default_physnet_subnets=f'p1:{UUID}', physnet_resource_mappings='p1'
    ) == [
        "[sriov] physnet_resource_mappings: 'p1' is not NAME:VALUE; "
        'correct the value.'
    ]


def test_subnet_ids_of_other_providers_need_not_be_uuids(load):
    conf = load(
        vif_driver='local',
        default_physnet_subnets='p1:vlan-sriov-subnet-1',
        resource_driver_mappings='p1:vfio-pci',
    )
    loading.validate_config(conf, PLUGINS)


def test_an_upper_case_uuid_is_a_uuid(load):
    conf = load(
        default_physnet_subnets=f'p1:{UUID.upper()}',
        resource_driver_mappings='p1:vfio-pci',
    )
    loading.validate_config(conf, PLUGINS)


def test_a_physnet_that_cannot_name_a_resource_needs_a_mapping(problems):
    assert problems(default_physnet_subnets=f'p.1:{UUID}') == [
        "[sriov] physnet_resource_mappings: physnet 'p.1' cannot name its "
        "own resource; add 'p.1:RESOURCE'."
    ]


def test_without_plugins_the_message_says_so(load):
    with pytest.raises(ConfigurationError) as caught:
        loading.validate_config(
            load(resource_driver_mappings='p1:vfio-pci'), {}
        )
    assert all('(nothing)' in line for line in caught.value.problems)
    assert len(caught.value.problems) == 3


def test_values_set_by_a_host_are_checked_like_those_of_a_file(load):
    conf = load()
    conf.set_override('vif_driver', 'local', 'sriov')
    conf.set_override(
        'default_physnet_subnets', {'p1,p2': 's', 'p3': ''}, 'sriov'
    )
    conf.set_override(
        'physnet_resource_mappings', {'p1,p2': 'r1', 'p3': 'r3'}, 'sriov'
    )
    conf.set_override(
        'resource_driver_mappings',
        {'r1': 'vfio-pci', 'r3': 'vfio-pci'},
        'sriov',
    )
    with pytest.raises(ConfigurationError) as caught:
        loading.validate_config(conf, PLUGINS)
    assert caught.value.problems == (
        "[sriov] default_physnet_subnets: 'p1,p2' is not a physnet; write "
        'PHYSNET:VALUE pairs, each with its colon.',
        "[sriov] default_physnet_subnets: physnet 'p3' has an empty subnet "
        'id; set the id, or leave the physnet out.',
        "[sriov] physnet_resource_mappings: 'p1,p2' is not a physnet; write "
        'PHYSNET:VALUE pairs, each with its colon.',
    )
