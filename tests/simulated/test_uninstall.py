# SPDX-License-Identifier: Apache-2.0
"""A node that was taken out has the network it had before."""

import argparse
import json

import pytest
from nodedaemon import NodeWithDaemon, wait_for

from kuryr_sriov import Node, PermanentError, TransientError
from kuryr_sriov.cmd.main import main
from kuryr_sriov_daemon.node import uninstall

LIST = {'cniVersion': '1.0.0', 'name': 'pods', 'plugins': [{'type': 'bridge'}]}
OURS = {'type': 'kuryr-sriov'}


class Installed(NodeWithDaemon):
    """A node on which the daemon installs itself."""

    def __init__(self, world):
        super().__init__(world)
        source = self.run / 'image' / 'plugin'
        source.parent.mkdir()
        source.write_text('#!/bin/sh\n')
        self.options['plugin'] = source
        self.plugin = self.run / 'bin' / 'kuryr-sriov'
        (self.run / 'net.d').mkdir()
        self.list = self.run / 'net.d' / '10-bridge.conflist'
        self.list.write_text(json.dumps(LIST))

    @property
    def plugins(self):
        return json.loads(self.list.read_text())['plugins']

    def start(self, **options):
        daemon = super().start(**options)
        wait_for(self.plugin.exists)
        if self.options['way'] == 'chained':
            wait_for(lambda: OURS in self.plugins)
        return daemon

    def uninstall(self, take_vfs=False):
        conf = self.conf()
        with Node(conf, host=self.world.node.host) as node:
            return uninstall.uninstall(conf, node, take_vfs)


@pytest.fixture
def node(world):
    node = Installed(world)
    yield node
    node.close()


def test_a_daemon_installs_itself(node):
    node.start()
    assert node.plugin.read_text() == '#!/bin/sh\n'
    assert node.plugins == [{'type': 'bridge'}, OURS]


def test_a_daemon_that_multus_calls_is_chained_no_longer(node):
    """Else no pod of the node could start: each ADD would be refused."""
    node.start()
    node.stop()
    by_hand = node.list.with_name('50-ours.conflist')  # found by its name
    by_hand.write_text(json.dumps({**LIST, 'plugins': [OURS]}))
    node.start(way='delegate')
    wait_for(lambda: node.plugins == [{'type': 'bridge'}])
    assert json.loads(by_hand.read_text())['plugins'] == [OURS]


def test_as_a_delegate_it_leaves_the_list_alone(node):
    node.start(way='delegate')
    assert node.plugin.exists()
    assert node.plugins == [{'type': 'bridge'}]


def test_it_stays_installed_over_a_restart(node):
    """Pods that come in between must not start without their VFs."""
    node.start()
    node.stop()
    assert OURS in node.plugins
    assert node.plugin.exists()


@pytest.mark.parametrize(
    'answer',
    [
        {'kind': 'DaemonSet', 'metadata': {'deletionTimestamp': 'now'}},
        PermanentError('404, or our role is gone'),
    ],
)
def test_it_goes_with_its_daemonset(node, answer):
    node.start()
    node.api.session.daemonset = answer
    node.stop()
    assert node.plugins == [{'type': 'bridge'}]
    assert not node.plugin.exists()


def test_an_api_server_that_is_away_is_no_end_of_a_daemonset(node):
    node.start()
    node.api.session.daemonset = TransientError('no answer')
    node.stop()
    assert OURS in node.plugins


def test_a_daemonset_that_was_never_seen_is_not_gone(node):
    """As without the right to look at it."""
    node.api.session.daemonset = PermanentError('403')
    node.start()
    node.stop()
    assert OURS in node.plugins


def test_a_dead_daemon_is_taken_out_by_hand(node):
    node.start()
    node.stop()
    assert node.uninstall() == []
    assert node.plugins == [{'type': 'bridge'}]
    assert not node.plugin.exists()
    assert node.uninstall() == []


def test_a_running_daemon_is_not_taken_out(node):
    node.start()
    with pytest.raises(PermanentError, match='the node daemon runs here'):
        node.uninstall()
    assert OURS in node.plugins


def test_pods_with_vfs_keep_them_and_are_named(node):
    node.start()
    node.promised(1)
    node.runtime.succeed('ADD', 1)
    node.stop()
    assert {str(r.sandbox.pod) for r in node.uninstall()} == {'default/pod1'}
    assert node.plugins == [{'type': 'bridge'}]
    assert node.plugin.exists()  # for their DEL


def test_pods_can_be_left_without_their_vfs(node):
    before = node.world.node.state()
    node.start()
    node.promised(1)
    node.runtime.succeed('ADD', 1)
    node.stop()
    assert node.uninstall(take_vfs=True) == []
    assert node.world.node.state() == before
    assert not node.plugin.exists()


def test_vfs_of_sandboxes_that_are_gone_come_home_first(node):
    before = node.world.node.state()
    node.start()
    node.promised(1)
    node.runtime.succeed('ADD', 1)
    node.stop()
    node.world.node.delete_netns('/run/netns/pod1-1')
    assert node.uninstall() == []
    assert node.world.node.state() == before


def test_the_command_says_how_it_ended(node, capsys):
    node.start()
    node.stop()
    file = str(node.world.path / 'kuryr.conf')
    assert main(['uninstall', '--config-file', file]) == 0
    assert capsys.readouterr().out == (
        'This node is as it was without kuryr-sriov.\n'
    )
    assert main(['uninstall', '--json', '--config-file', file]) == 0
    assert json.loads(capsys.readouterr().out) == {'pods_with_vfs': []}


def test_the_command_names_pods_with_vfs(node, capsys, monkeypatch):
    node.start()
    node.promised(1)
    node.runtime.succeed('ADD', 1)
    node.stop()
    node.conf()
    monkeypatch.setattr(
        uninstall, 'Node', lambda conf: Node(conf, host=node.world.node.host)
    )
    args = argparse.Namespace(
        config_file=[str(node.world.path / 'kuryr.conf')],
        take_vfs=False,
        json=False,
    )
    assert uninstall.run(args) == 1
    assert 'default/pod1' in capsys.readouterr().out
