# SPDX-License-Identifier: Apache-2.0
"""The files that the pages include are run, or read by what reads them."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from kuryr_sriov import config, networks, plugins
from kuryr_sriov.binding.base import BindingDriver
from kuryr_sriov.cmd import main
from kuryr_sriov.drivers.neutron import NeutronVIFDriver

MAC = re.compile('(?:[0-9a-f]{2}:){5}[0-9a-f]{2}')


def test_demo_prints_what_is_shown(snippets, capsys):
    assert main.main(['demo']) == 0
    printed = MAC.sub('MAC', capsys.readouterr().out)
    start, end = (snippets / 'demo.txt').read_text().split('...\n')
    assert printed.startswith(MAC.sub('MAC', start))
    assert printed.endswith(end)


def test_steps_to_kill_it_at_are_told(capsys):
    with pytest.raises(SystemExit):
        main.main(['demo', '--help'])
    assert 'connect' in capsys.readouterr().out


def test_neutron_options_are_valid(snippets):
    conf = config.load(files=[str(snippets / 'neutron.conf')])
    config.validate(conf, plugins.installed())
    section = config.section(conf, NeutronVIFDriver)
    assert (section.auth_type, section.cluster) == ('password', 'production')


def test_network_selection_is_understood(snippets):
    value = (snippets / 'networks.json').read_text()
    first, second = networks.parse_networks(value, 'default')
    assert (first.name, first.ifname) == ('sriov-net1', 'dpdk0')
    assert second.ips == ('192.168.3.7',)
    assert second.mac == json.loads(value)[1]['mac']


@pytest.fixture
def installed(snippets, tmp_path, monkeypatch):
    """The Acme driver, as pip would install it."""
    folder = tmp_path / 'kuryr_sriov_acme-1.0.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: kuryr-sriov-acme\nVersion: 1.0\n'
    )
    cfg = (snippets / 'acme' / 'setup.cfg').read_text()
    group, entry = cfg.partition('entry_points]\n')[2].split('=\n')
    (folder / 'entry_points.txt').write_text(
        f'[{group.strip()}]\n{entry.strip()}\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(snippets / 'acme')


@pytest.mark.usefixtures('installed')
def test_driver_is_chosen_by_its_name(snippets):
    conf = config.load(files=[str(snippets / 'acme' / 'kuryr.conf')])
    config.validate(conf, plugins.installed())
    driver = plugins.load(plugins.BINDING_DRIVERS, 'acmevf', BindingDriver)
    section = config.section(conf, driver)
    assert (section.tagged_mtu, section.device_timeout) == (1496, 30)


@pytest.mark.parametrize('test', ['test_daemon.py', 'acme/test_acme.py'])
def test_tests_that_are_shown_pass(snippets, tmp_path, test):
    """As their author would run them."""
    shutil.copytree(snippets, tmp_path / 'snippets')
    run = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-c', os.devnull, test],
        cwd=tmp_path / 'snippets',
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout
