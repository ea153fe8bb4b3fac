# SPDX-License-Identifier: Apache-2.0
"""Which parts the node's daemon has, and in which order they begin and end."""

import threading
import types
from pathlib import Path

import pytest

from kuryr_sriov import load_config
from kuryr_sriov_daemon.node import daemon as module
from kuryr_sriov_daemon.node.daemon import (
    Identity,
    NodeDaemon,
    read_identity,
)
from kuryr_sriov_daemon.options import register_daemon_options

CONF = """
[sriov_node]
way = {way}
cni_socket = /run/cni.sock
cni_conf_dir = /conf
cni_bin_dir = /bin
plugin = {plugin}
request_timeout = 90
vifs_timeout = 50
active_timeout = 3
reconcile_interval = 301
check_interval = 61
settle_time = 11
drain_timeout = 7
http_host = 127.0.0.1
http_port = 9
"""
PARTS = [
    *('NodeMetrics', 'Instance', 'NodeView', 'PortQuestions', 'Node'),
    *('PodEvents', 'StatusReports', 'DriftWatch', 'VfChanges', 'Upkeep'),
    *('CniCommands', 'DaemonSet', 'HealthServer', 'CniServer', 'Conflist'),
]


class Part:
    """Stands for one; what is called of it is written down."""

    def __init__(self, name, calls):
        self.part_name, self.calls = name, calls
        self.answers = {'wait': True, 'is_gone': False, 'remove': False}

    def __getattr__(self, method):
        if method.startswith('__'):
            raise AttributeError(method)
        if method in ('session', 'registry', 'trouble', 'is_complete'):
            return f'{self.part_name}.{method}'

        def call(*arguments, **named):
            self.calls.append((f'{self.part_name}.{method}', *arguments))
            return self.answers.get(method)

        call.part_name = f'{self.part_name}.{method}'
        return call


def name_of(one):
    """Parts, and their methods, by name; anything else is itself."""
    return getattr(one, 'part_name', one)


class World:
    """A daemon all of whose parts write down what they are asked."""

    def __init__(self, monkeypatch, path, way='chained', plugin=''):
        self.calls, self.made, self.parts = [], {}, {}
        for name in PARTS:
            self.parts[name] = Part(name, self.calls)
            monkeypatch.setattr(module, name, self.maker(name))
        self.keeper = Part('Keeper', self.calls)
        installation = types.SimpleNamespace(
            install_plugin=lambda *a: self.calls.append(('install', *a)),
            remove_plugin=lambda *a: self.calls.append(('remove', *a)),
            Keeper=lambda folder: self.keeper,
        )
        monkeypatch.setattr(module, 'installation', installation)
        path.write_text(CONF.format(way=way, plugin=plugin))
        self.conf = register_daemon_options(load_config(files=[str(path)]))
        self.kubernetes = Part('Kubernetes', self.calls)
        self.daemon = NodeDaemon(
            self.conf,
            self.kubernetes,
            Identity('node1', 'kuryr', 'kuryr-node'),
            host='a host',
        )

    def maker(self, name):
        def make(*arguments, **named):
            self.made[name] = (
                [*map(name_of, arguments)],
                {key: name_of(one) for key, one in named.items()},
            )
            return self.parts[name]

        return make

    def run(self):
        self.daemon._stopping.set()
        assert self.daemon.run() == 0
        return [
            f'{name} {more[0]}' if name == 'CniServer.stop' else name
            for name, *more in self.calls
        ]


@pytest.fixture
def make(monkeypatch, tmp_path):
    return lambda **more: World(monkeypatch, tmp_path / 'kuryr.conf', **more)


STARTED = [
    *('HealthServer.start', 'Instance.wait', 'Upkeep.reconcile'),
    *('NodeView.start', 'PodEvents.run', 'StatusReports.start'),
    *('VfChanges.start', 'Upkeep.start', 'NodeMetrics.follow'),
    'DaemonSet.check_access',
]
ENDED = [
    *('CniServer.stop 7.0', 'Upkeep.stop', 'VfChanges.stop'),
    *('StatusReports.stop', 'PodEvents.stop', 'NodeView.stop'),
    *('HealthServer.stop', 'Node.close', 'Instance.close'),
]


def test_the_last_part_to_begin_is_the_first_to_end(make):
    """Requests in progress are finished while all that they need is there."""
    before = threading.active_count()
    assert make().run() == [*STARTED, 'CniCommands.drain', *ENDED]
    assert threading.active_count() == before


def test_each_part_has_what_it_needs(make):
    world = make()
    world.run()
    made = world.made
    assert made['Node'] == (
        [world.conf],
        {
            'observe': 'NodeMetrics.observe',
            'ask_port': 'PortQuestions.ask',
            'host': 'a host',
        },
    )
    assert made['NodeView'] == (['Kubernetes', 'node1'], {})
    assert made['PortQuestions'] == (['Kubernetes', 'NodeView', 50], {})
    assert made['PodEvents'][0][0] == 'Kubernetes.session'
    assert made['PodEvents'][0][2] == 'node1'
    assert made['StatusReports'] == (
        ['Node', 'NodeView', 'Kubernetes', True],
        {},
    )
    assert made['DriftWatch'] == (['Node', 11], {})
    tell = 'PodEvents.tell'
    assert made['VfChanges'] == (['Node', 'NodeView', tell, 61], {})
    assert made['Upkeep'] == (
        ['Node', 'DriftWatch', 'NodeView', 'StatusReports', tell, 301, 61],
        {},
    )
    assert made['CniCommands'] == (
        [
            *('Node', 'DriftWatch', 'NodeView', 'StatusReports', 'chained'),
            *(module.read_limits(world.conf), 'Upkeep.reconcile_soon'),
        ],
        {},
    )
    assert made['DaemonSet'] == (
        ['Kubernetes.session', 'kuryr', 'kuryr-node'],
        {},
    )
    assert made['HealthServer'] == (
        [('127.0.0.1', 9), 'NodeMetrics.registry'],
        {'live': (), 'ready': (world.daemon._why_not_ready,)},
    )
    assert made['CniServer'] == (
        [
            *(Path('/run/cni.sock'), 'CniCommands'),
            'NodeMetrics.observe_request',
        ],
        {},
    )


def test_who_waits_for_another_process_begins_nothing(make):
    world = make()
    world.parts['Instance'].answers['wait'] = False
    assert world.run() == [
        *('HealthServer.start', 'Instance.wait', 'CniCommands.drain'),
        *('HealthServer.stop', 'Node.close', 'Instance.close'),
    ]


def test_a_part_that_does_not_begin_ends_those_that_have(make):
    world = make()

    def fail():
        raise OSError('no')

    world.parts['StatusReports'].__dict__['start'] = fail
    with pytest.raises(OSError, match='no'):
        world.run()
    ended = [name for name, *_ in world.calls][-6:]
    assert ended == [
        *('CniCommands.drain', 'PodEvents.stop', 'NodeView.stop'),
        *('HealthServer.stop', 'Node.close', 'Instance.close'),
    ]


def test_a_chained_plugin_is_installed_and_kept(make):
    world = make(plugin='/image/plugin')
    ran = world.run()
    at = ran.index('install')
    assert ran[at : at + 3] == ['install', 'Keeper.start', 'CniCommands.drain']
    assert ran[at + 3 : at + 6] == [
        *('Keeper.stop', 'DaemonSet.is_gone', 'CniServer.stop 7.0'),
    ]
    (installed,) = [call for call in world.calls if call[0] == 'install']
    assert list(map(str, installed)) == ['install', '/image/plugin', '/bin']


@pytest.mark.parametrize('chained', [True, False])
def test_a_delegate_is_chained_no_longer(make, chained, caplog):
    caplog.set_level('INFO')
    world = make(plugin='/image/plugin', way='delegate')
    world.parts['Conflist'].answers['remove'] = chained
    ran = world.run()
    assert ran.count('Conflist.remove') == 1
    assert 'Keeper.start' not in ran
    assert ('no longer chained in /conf' in caplog.text) is chained
    assert world.made['StatusReports'][0][-1] is False


def test_a_node_is_left_as_it_was_once_the_daemonset_is_gone(make):
    world = make(plugin='/image/plugin')
    world.parts['DaemonSet'].answers['is_gone'] = True
    ran = world.run()
    at = ran.index('DaemonSet.is_gone')
    assert ran[at : at + 4] == [
        *('DaemonSet.is_gone', 'Conflist.remove', 'remove'),
        'CniServer.stop 7.0',
    ]
    alone = make()
    alone.parts['DaemonSet'].answers['is_gone'] = True
    assert 'remove' not in alone.run()


@pytest.mark.parametrize(
    ('environment', 'identity'),
    [
        (
            {'NODE_NAME': 'a', 'POD_NAMESPACE': 'b', 'DAEMONSET_NAME': 'c'},
            Identity('a', 'b', 'c'),
        ),
        ({}, Identity('configured')),
    ],
)
def test_who_it_is_a_manifest_says(environment, identity):
    conf = types.SimpleNamespace(
        sriov=types.SimpleNamespace(node_name='configured')
    )
    assert read_identity(environment, conf) == identity
