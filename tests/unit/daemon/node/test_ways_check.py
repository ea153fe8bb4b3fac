# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov check``: both ways in, none, or a Multus that fails pods."""

import json
from pathlib import Path

import pytest
import yaml

from kuryr_sriov import TransientError, load_config
from kuryr_sriov.cmd.check import daemon_ways, findings
from kuryr_sriov_daemon.node import ways_check

EXAMPLES = Path(__file__).parents[4] / 'examples' / 'howto'
BRIDGE, OURS = {'type': 'bridge'}, {'type': 'kuryr-sriov'}
MULTUS = {'type': 'multus', 'cniVersion': '1.0.0', 'name': 'multus'}
CHAIN = [BRIDGE, OURS]


def nad(name, config=None, kuryr=True, namespace='default'):
    annotations = {'openstack.org/kuryr-config': '{}'} if kuryr else {}
    text = config if isinstance(config, str) else json.dumps(config)
    return {
        'metadata': {
            'namespace': namespace,
            'name': name,
            'annotations': annotations,
        },
        'spec': {} if config is None else {'config': text},
    }


class Session:
    """The API server's networks, or the error that listing them raises."""

    def __init__(self, nads=(), error=None):
        self.nads, self.error, self.closed = nads, error, False

    def list_objects(self, path):
        assert path.endswith('/network-attachment-definitions')
        if self.error:
            raise self.error
        yield {'items': self.nads}

    def close(self):
        self.closed = True


class Node:
    """A node that the daemon was installed on."""

    def __init__(self, folder):
        self.folder = folder
        (folder / 'net.d').mkdir()
        (folder / 'bin').mkdir()
        (folder / 'bin' / 'kuryr-sriov').touch()

    def write(self, name, value):
        if isinstance(value, list):
            value = {'cniVersion': '1.0.0', 'name': 'n', 'plugins': value}
        (self.folder / 'net.d' / name).write_text(json.dumps(value))

    def examine(self, way='chained', nads=(), error=None, more=''):
        file = self.folder / 'kuryr.conf'
        file.write_text(
            f'[sriov_node]\nway = {way}\n{more}\n'
            f'cni_conf_dir = {self.folder}/net.d\n'
            f'cni_bin_dir = {self.folder}/bin\n'
        )
        session = Session(nads, error)
        subject = findings.Subject(
            None, load_config(files=[str(file)]), connect=lambda: session
        )
        return list(daemon_ways.check_ways(subject))


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_nothing_is_said_where_the_daemon_was_never_installed(node):
    (node.folder / 'bin' / 'kuryr-sriov').unlink()
    node.write('10-bridge.conflist', [BRIDGE])
    assert node.examine(nads=[nad('a', OURS)]) == []


def test_a_chain_that_ends_with_us_is_well(node):
    node.write('10-bridge.conflist', CHAIN)
    (result,) = node.examine(nads=[nad('a'), nad('b', BRIDGE, kuryr=False)])
    assert result.status == 'ok'
    assert '10-bridge.conflist' in result.message


@pytest.mark.parametrize('plugins', [[BRIDGE], [OURS, BRIDGE], None])
def test_pods_that_would_get_no_vfs(node, plugins):
    if plugins:
        node.write('10-bridge.conflist', plugins)
    (result,) = node.examine()
    assert result.status == 'failed'
    assert 'pods get no VFs' in result.message


def test_multus_calls_us(node):
    node.write('00-multus.conf', MULTUS)
    (result,) = node.examine('delegate', [nad('a', OURS)])
    assert result.status == 'ok'


def test_nobody_calls_a_delegate_without_multus(node):
    node.write('10-bridge.conflist', [BRIDGE])
    (result,) = node.examine('delegate')
    assert result.status == 'failed'
    assert 'nobody calls the plugin' in result.message


def test_a_delegate_that_is_chained_too(node):
    node.write('00-multus.conf', MULTUS)
    node.write('10-bridge.conflist', CHAIN)
    (result,) = node.examine('delegate', [nad('a', OURS)])
    assert result.status == 'failed'
    assert 'Both ways would act' in result.message
    assert '10-bridge.conflist' in result.message


@pytest.mark.parametrize('other', [[BRIDGE, {'type': 'portmap'}], [OURS]])
def test_other_chains_and_our_own_list_are_no_chain_of_ours(node, other):
    """A list with nothing but us is what a delegate may be given."""
    node.write('00-multus.conf', MULTUS)
    node.write('10-other.conflist', other)
    (result,) = node.examine('delegate', [nad('a', OURS)])
    assert result.status == 'ok'


@pytest.mark.parametrize(
    'config', [OURS, {'plugins': [BRIDGE, OURS]}, {'plugins': [OURS]}]
)
def test_a_chain_and_networks_that_multus_would_call_us_for(node, config):
    node.write('00-multus.conflist', [MULTUS, OURS])
    chain, result = node.examine(nads=[nad('a', config)])
    assert (chain.status, result.status) == ('ok', 'failed')
    assert 'Both ways would act' in result.message
    assert 'default/a' in result.message


def test_such_networks_without_multus_are_a_warning(node):
    node.write('10-bridge.conflist', CHAIN)
    _, result = node.examine(nads=[nad('a', OURS)])
    assert result.status == 'warning'
    assert 'Both ways are prepared' in result.message


@pytest.mark.parametrize('way', ['chained', 'delegate'])
def test_a_network_without_spec_config_under_a_running_multus(node, way):
    if way == 'chained':
        node.write('00-multus.conflist', [{'type': 'multus-shim'}, OURS])
    else:
        node.write('00-multus.conf', MULTUS)
    nads = [nad(f'a{number}') for number in range(7)]
    _, result = node.examine(way, nads)
    assert result.status == 'failed'
    assert 'Multus runs here, and fails pods' in result.message
    assert 'default/a4 and 2 more' in result.message


def test_a_network_that_the_controller_does_not_know(node):
    node.write('00-multus.conf', MULTUS)
    _, result = node.examine('delegate', [nad('a', OURS, kuryr=False)])
    assert result.status == 'failed'
    assert 'openstack.org/kuryr-config' in result.message


@pytest.mark.parametrize('text', ['{', '[]', '7', '"x"', '[' * 100000])
def test_a_spec_config_that_is_none_stops_nothing(node, text):
    node.write('10-bridge.conflist', CHAIN)
    (result,) = node.examine(nads=[nad('a', text)])
    assert result.status == 'ok'


def test_networks_that_may_not_be_listed_are_left_out(node):
    node.write('10-bridge.conflist', CHAIN)
    _, result = node.examine(error=TransientError('403: forbidden'))
    assert result.status == 'skipped'
    assert '403' in result.message
    assert '--kubeconfig' in result.remedy


def test_timeouts_that_do_not_fit_are_told(node):
    (result,) = node.examine(more='vifs_timeout = 105')
    assert result.status == 'failed'
    assert 'vifs_timeout' in result.message


def test_the_examples_are_for_one_way_each(node):
    """Those of the how-to are chained; those for Multus are a delegate's."""

    def read(*names):
        bodies = [
            body
            for name in names
            for body in yaml.safe_load_all((EXAMPLES / name).read_text())
        ]
        for body in bodies:
            body['metadata'].setdefault('namespace', 'default')
        return bodies

    node.write('10-bridge.conflist', CHAIN)
    howto = read('sriov-net1.yaml', 'sriov-net2.yaml')
    assert [r.status for r in node.examine(nads=howto)] == ['ok']
    (node.folder / 'net.d' / '10-bridge.conflist').unlink()
    node.write('00-multus.conf', MULTUS)
    multus = read('multus.yaml')
    assert [r.status for r in node.examine('delegate', multus)] == ['ok']


def test_the_session_is_closed():
    session = Session()
    assert ways_check._list_networks(session) == []
    assert session.closed
