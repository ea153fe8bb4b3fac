# SPDX-License-Identifier: Apache-2.0
"""kuryr.conf loads, also the one that kuryr-kubernetes 6 was run with."""

import pytest
from oslo_config import cfg

from kuryr_sriov.config import loading
from kuryr_sriov.exceptions import ConfigurationError, PluginError

PLUGINS = {
    'kuryr_sriov.subnet_drivers': ['nad'],
    'kuryr_sriov.vif_drivers': ['local', 'neutron'],
    'kuryr_sriov.binding_drivers': ['netdevice', 'vfio-pci'],
}

KURYR_KUBERNETES_6 = """
[DEFAULT]
debug = true
bindir = /usr/local/libexec/kuryr
use_stderr = true
deployment_type = baremetal

[binding]
default_driver = kuryr.lib.binding.drivers.vlan
link_iface = eth0

[cni_daemon]
docker_mode = true
netns_proc_dir = /host_proc
cni_failures_count = 3
worker_num = 30

[cni_health_server]
port = 8090

[health_server]
port = 8082

[kubernetes]
api_root = https://10.0.0.1:6443
ssl_ca_crt_file = /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
token_file = /var/run/secrets/kubernetes.io/serviceaccount/token
ssl_verify_server_crt = true
enabled_handlers = vif,kuryrport,service,endpoints
pod_vif_driver = neutron-vif
multi_vif_drivers = npwg_multiple_interfaces
vif_pool_driver = noop
port_debug = true
controller_ha = false

[neutron]
auth_url = http://192.168.33.10/identity
auth_type = password
project_name = service
username = kuryr
password = p4$$word
user_domain_name = Default
project_domain_name = Default
endpoint_override = http://192.168.33.10:9696/networking

[neutron_defaults]
ovs_bridge = br-int
service_subnet = f6a5d1d1-b7ba-4f57-a8b0-ab1b2f4c2d11
pod_subnets = 7d6a1f3e-9c5b-4d3a-8f77-1f3a2b4c5d6e
pod_security_groups = 2b7c4e1a-0c1d-4e5f-9a8b-7c6d5e4f3a2b
external_svc_net = 3c8d5f2b-1d2e-4f60-8b9c-8d7e6f5a4b3c

[namespace_subnet]
pod_router = 88d4e7b1-5d2c-4b3f-9f1e-2d4c6b8a0f1e

[sriov]
kubelet_root_dir = /var/lib/kubelet
enable_pod_resource_service = True
default_physnet_subnets =
    physnet22:4c1b7b86-9d5e-4c39-8d0e-3a6a5d0b2f22,
    physnet23:9a0f6f0d-54b7-4a0e-b1d4-0f5b6c7e2f23
device_plugin_resource_prefix = intel.com
physnet_resource_mappings = physnet22:physnet22,physnet23:physnet23
resource_driver_mappings = physnet22:vfio-pci,physnet23:vfio-pci
enable_node_annotations = False

[vif_pool]
ports_pool_max = 0
ports_pool_update_frequency = 20
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / 'kuryr.conf'
        path.write_text(text)
        return str(path)

    return write


def test_kuryr_kubernetes_6_file_loads_unchanged(write):
    conf = loading.load_config(files=[write(KURYR_KUBERNETES_6)])
    loading.validate_config(conf, PLUGINS)
    assert conf.sriov.enable_pod_resource_service is True
    resources = loading.resource_mappings(conf)
    assert resources.resource_of('physnet22') == 'intel.com/physnet22'
    assert resources.physnet_of('intel.com/physnet23') == 'physnet23'
    assert resources.driver_of('intel.com/physnet22') == 'vfio-pci'


def test_defaults_are_those_of_kuryr_kubernetes_and_valid():
    conf = loading.load_config(files=[])
    loading.validate_config(conf, PLUGINS)
    assert dict(conf.sriov) == {
        'kubelet_root_dir': '/var/lib/kubelet',
        'enable_pod_resource_service': False,
        'default_physnet_subnets': {},
        'network_physnets': {},
        'namespace_isolation': True,
        'global_namespaces': ['default'],
        'orphan_grace': 600.0,
        'orphan_limit': 25.0,
        'physnet_resource_mappings': {},
        'device_plugin_resource_prefix': 'intel.com',
        'resource_driver_mappings': {},
        'enable_node_annotations': False,
        'subnet_driver': 'nad',
        'vif_driver': 'neutron',
        'node_vif_drivers': {},
        'instance_metadata': '',
        'metadata_timeout': 10.0,
        'guest_addresses': 'metadata',
        'guest_macs': [],
        'node_name': '',
        'node_is_guest': False,
        'allow_unsafe_noiommu': None,
        'attachment_hooks': [],
        'state_dir': '/var/lib/kuryr-sriov',
        'device_timeout': 10.0,
        'pf_lock_timeout': 60.0,
        'attachment_timeout': 60.0,
        'kubelet_timeout': 15.0,
    }


def test_each_load_is_a_configuration_of_its_own(write):
    one = loading.load_config(files=[write('[sriov]\nnode_name = one\n')])
    other = loading.load_config(files=[])
    assert (one.sriov.node_name, other.sriov.node_name) == ('one', '')


def test_command_line_names_a_file(write):
    path = write('[sriov]\nnode_name = one\n')
    conf = loading.load_config(['--config-file', path])
    assert conf.sriov.node_name == 'one'


def test_kuryr_conf_is_found_where_kuryr_keeps_it(tmp_path, monkeypatch):
    (tmp_path / '.kuryr').mkdir()
    (tmp_path / '.kuryr/kuryr.conf').write_text('[sriov]\nnode_name = one\n')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert loading.load_config().sriov.node_name == 'one'


def test_pairs_may_have_spaces(write):
    text = '[sriov]\nresource_driver_mappings = a : b , c:d\n'
    conf = loading.load_config(files=[write(text)])
    assert conf.sriov.resource_driver_mappings == {'a': 'b', 'c': 'd'}


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'kubelet_root_dir = /x\n', 'Section must be started'),
        (b'[sriov]\nnonsense\n', "kuryr.conf:2, No ':' or '='"),
        (b'[sriov]\nnode_name = \xff\n', "can't decode byte 0xff"),
    ],
)
def test_unreadable_file_is_a_configuration_error(tmp_path, content, reason):
    path = tmp_path / 'kuryr.conf'
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        loading.load_config(files=[str(path)])
    assert '--config-file' in str(caught.value)


def test_missing_file_is_a_configuration_error(tmp_path):
    path = str(tmp_path / 'nowhere.conf')
    with pytest.raises(ConfigurationError, match=r'nowhere\.conf'):
        loading.load_config(files=[path])


def test_directory_instead_of_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match='Is a directory'):
        loading.load_config(files=[str(tmp_path)])


def test_each_option_is_explained():
    assert all(option.help for option in loading.OPTIONS)


def test_a_host_registers_the_options_in_its_own_configuration():
    conf = cfg.ConfigOpts()
    loading.register_options(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    assert conf.sriov.vif_driver == 'neutron'


class Driver:
    """As much of a driver as configuration looks at."""

    group = 'vendor'
    options = (
        cfg.IntOpt('queues', default=4),
        cfg.StrOpt('key', required=True),
    )


def test_a_driver_gets_its_section_with_its_options(write):
    conf = loading.load_config(
        files=[write('[vendor]\nqueues = 8\nkey = x\n')]
    )
    section = loading.read_section(conf, Driver)
    assert (section.queues, section.key) == (8, 'x')
    assert loading.read_section(conf, Driver).queues == 8


def test_a_driver_without_options_shares_a_section():
    class Plain:
        group = 'sriov'
        options = ()

    conf = loading.load_config(files=[])
    assert loading.read_section(conf, Plain).device_timeout == 10


def test_a_drivers_options_are_read_when_it_is_loaded(write):
    conf = loading.load_config(files=[write('[vendor]\nqueues = many\n')])
    with pytest.raises(ConfigurationError) as caught:
        loading.read_section(conf, Driver)
    queues, key = caught.value.problems
    assert queues.startswith('[vendor] queues: invalid literal for int()')
    assert key == '[vendor] key: not set; set it.'


def test_two_drivers_cannot_mean_different_things_by_one_option():
    class Other:
        group = 'vendor'
        options = (cfg.StrOpt('queues', default='few'),)

    conf = loading.load_config(files=[])
    conf.register_opts(Driver.options, group='vendor')
    with pytest.raises(PluginError, match=r"Other .*'queues' of \[vendor\]"):
        loading.read_section(conf, Other)
