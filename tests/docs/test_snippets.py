# SPDX-License-Identifier: Apache-2.0
"""The files that the pages include are run, or read by what reads them."""

import configparser
import json
import re
import runpy

import pytest
import yaml

from kuryr_sriov import model, plugins
from kuryr_sriov.cmd import main
from kuryr_sriov.config import loading
from kuryr_sriov.drivers.neutron import NeutronVIFDriver, neutron_options
from kuryr_sriov.npwg import requests

MAC = re.compile('(?:[0-9a-f]{2}:){5}[0-9a-f]{2}')


def test_demo_prints_what_is_shown(snippets, capsys):
    assert main.main(['demo']) == 0
    printed = MAC.sub('MAC', capsys.readouterr().out)
    assert printed == MAC.sub('MAC', (snippets / 'demo.txt').read_text())


def test_steps_to_kill_it_at_are_told(capsys):
    with pytest.raises(SystemExit):
        main.main(['demo', '--help'])
    assert 'connect' in capsys.readouterr().out


def test_neutron_options_are_valid(snippets):
    conf = loading.load_config(files=[str(snippets / 'neutron.conf')])
    loading.validate_config(conf, plugins.list_installed())
    section = loading.read_section(conf, NeutronVIFDriver)
    assert (section.auth_type, section.cluster) == ('password', 'production')


def test_a_pattern_for_machines_is_valid(snippets):
    conf = loading.load_config(files=[str(snippets / 'guest.conf')])
    loading.validate_config(conf, plugins.list_installed())
    assert conf.sriov.node_vif_drivers == {'vm-*': 'guest'}


def test_hosts_of_nodes_are_understood(snippets):
    conf = loading.load_config(files=[str(snippets / 'hosts.conf')])
    section = loading.read_section(conf, NeutronVIFDriver)
    names = neutron_options.read_host_names(section)
    assert names.host_of('worker-1') == 'worker-1.cloud.example.org'
    assert names.host_of('worker-7') == 'compute-7.lab.example.org'


def test_network_selection_is_understood(snippets):
    value = (snippets / 'networks.json').read_text()
    first, second = requests.parse_networks(value, 'default')
    assert (first.name, first.ifname) == ('sriov-net1', 'dpdk0')
    assert second.ips == ('192.168.3.7',)
    assert second.mac == json.loads(value)[1]['mac']


@pytest.fixture
def installed(repository, tmp_path, monkeypatch):
    """Acme's distribution, as pip would install it."""
    example = repository / 'examples' / 'vendor-driver'
    cfg = configparser.ConfigParser()
    cfg.read(example / 'setup.cfg')
    folder = tmp_path / 'acme_crane-1.0.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: acme-crane\nVersion: 1.0\n'
    )
    groups = cfg['options.entry_points'].items()
    (folder / 'entry_points.txt').write_text(
        ''.join(f'[{group}]\n{entries}\n' for group, entries in groups)
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(example)


def test_the_policy_of_a_nad_is_understood(snippets):
    nad = yaml.safe_load((snippets / 'nad-policy.yaml').read_text())
    entry = requests.Selection('default', 'sriov-limited', 'net1')
    assert requests.request_of(entry, nad).policy == model.Policy(
        port_security=False, trust=True, max_tx_rate=1000, mtu=1400
    )


@pytest.mark.usefixtures('installed')
def test_driver_is_chosen_by_its_name(snippets):
    conf = loading.load_config(files=[str(snippets / 'crane.conf')])
    loading.validate_config(conf, plugins.list_installed())
    driver = plugins.load_plugin(plugins.BINDING_DRIVERS, 'crane')
    assert loading.read_section(conf, driver).max_tx_rate == 5000
    hooks = plugins.ATTACHMENT_HOOKS
    plugins.load_plugin(hooks, *conf.sriov.attachment_hooks)


def test_test_of_a_daemon_passes(snippets, tmp_path):
    shown = runpy.run_path(str(snippets / 'test_daemon.py'))
    shown['test_a_pod_gets_its_vf_and_gives_it_back'](tmp_path)
