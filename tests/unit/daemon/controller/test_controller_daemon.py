# SPDX-License-Identifier: Apache-2.0
"""What the daemon does by periods, and what it shows of itself."""

import dataclasses
import types

import pytest
from values import VIF

from kuryr_sriov import Pod, PortObject, TransientError, load_config
from kuryr_sriov.codec import to_json
from kuryr_sriov_daemon.controller.controller_daemon import ControllerDaemon
from kuryr_sriov_daemon.options import register_daemon_options

POD = Pod('ns', 'web', 'uid-web', 'node-1')


class Rounds:
    """Stands for the event that ends a loop: after so many rounds."""

    def __init__(self, number):
        self.left = number

    def wait(self, period):
        assert period == 5
        self.left -= 1
        return self.left < 0

    def is_set(self):
        return self.left <= 0


@pytest.fixture
def daemon():
    """Without a cluster: only what a test gives it."""
    daemon = object.__new__(ControllerDaemon)
    daemon._leadership = types.SimpleNamespace(is_leader=lambda: True)
    options = types.SimpleNamespace(
        changes_period=5, confirm_period=5, orphan_period=5
    )
    daemon._conf = types.SimpleNamespace(sriov_controller=options)
    return daemon


def test_a_provider_that_is_away_ends_no_look_for_changes(daemon):
    answers = [TransientError('away'), ('uid-1',), (), ('uid-2', 'uid-3')]
    seen = []

    def look(ports):
        assert list(ports) == ['a port']
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    changes = types.SimpleNamespace(look=look)
    daemon._reconciler = types.SimpleNamespace(changes=changes)
    daemon._watched_ports = types.SimpleNamespace(all=lambda: {1: 'a port'})
    daemon._over = Rounds(4)
    daemon._put_pod = seen.append
    daemon._look_for_changes()
    assert seen == ['uid-1', 'uid-2', 'uid-3']


def test_only_vifs_that_are_silent_are_asked_for(daemon):
    """Their number is small, and that of all ports is not."""
    silent = {'both': frozenset({'1', '2'}), 'late': frozenset({'4'})}
    answers = [frozenset({'2'}), TransientError('away'), frozenset({'4'})]
    asked, confirmed, seen = [], [], []

    def find_active(vif_ids):
        asked.append(set(vif_ids))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def list_silent(ports):
        assert ports == 'all ports'
        return silent

    daemon._library = types.SimpleNamespace(find_active=find_active)
    daemon._reconciler = types.SimpleNamespace(
        confirm=confirmed.append, list_silent=list_silent
    )
    daemon._watched_ports = types.SimpleNamespace(all=lambda: 'all ports')
    daemon._over = Rounds(3)
    daemon._put_pod = seen.append
    daemon._confirm_silent_vifs()
    assert asked == [{'1', '2', '4'}] * 3
    assert confirmed == [{'2'}, {'4'}]
    assert seen == ['both', 'late'] * 3


def test_nobody_is_asked_where_no_vif_is_silent(daemon):
    daemon._reconciler = types.SimpleNamespace(list_silent=lambda ports: {})
    daemon._watched_ports = types.SimpleNamespace(all=dict)
    daemon._over = Rounds(2)
    daemon._confirm_silent_vifs()  # there is no library here


def test_a_provider_that_is_away_ends_no_look_for_orphans(daemon, caplog):
    answers = [('vif-1', 'vif-2'), TransientError('away'), (), ('vif-3',)]
    counted, seen = [], []

    def collect_orphans(is_there):
        assert is_there == daemon._is_there
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    daemon._library = types.SimpleNamespace(collect_orphans=collect_orphans)
    orphans = types.SimpleNamespace(inc=counted.append)
    daemon._metrics = types.SimpleNamespace(orphans=orphans)
    ports = {'there': 'a port', 'gone': 'a port'}
    daemon._watched_ports = types.SimpleNamespace(all=lambda: ports)
    daemon._pods = {'there': 'a pod'}
    daemon._put_pod = seen.append
    daemon._over = Rounds(4)
    daemon._look_for_orphans()
    assert counted == [2, 0, 1]
    assert seen == ['gone'] * 4
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        'gave back orphaned VIFs: vif-1, vif-2',
        'orphans: away',
        'gave back orphaned VIFs: vif-3',
    ]


def test_only_a_leader_looks_for_what_is_left_and_changed(daemon):
    daemon._leadership = types.SimpleNamespace(is_leader=lambda: False)
    for look in (
        daemon._look_for_orphans,
        daemon._confirm_silent_vifs,
        daemon._look_for_changes,
    ):
        daemon._over = Rounds(3)
        look()  # there is no library here


@pytest.mark.parametrize(
    ('kept', 'asked', 'there'),
    [
        (types.SimpleNamespace(ended=False), [], True),
        (types.SimpleNamespace(ended=True), [], False),
        (None, [POD], True),
        (None, [POD], False),
    ],
)
def test_a_pod_that_the_copy_lacks_is_asked_for(daemon, kept, asked, there):
    calls = []

    def is_pod_there(pod):
        calls.append(pod)
        return there

    daemon._pods = {POD.uid: kept}
    daemon._kubernetes = types.SimpleNamespace(is_pod_there=is_pod_there)
    assert daemon._is_there(POD) is there
    assert calls == asked


@pytest.mark.parametrize(
    ('alive', 'ends', 'hangs'),
    [
        (True, False, 'threads ended: worker 0'),
        (True, True, ''),
        (False, False, 'the lease has not been looked at for minutes'),
    ],
)
def test_what_hangs_is_named(daemon, alive, ends, hangs):
    daemon._leadership.is_alive = lambda: alive
    daemon._over = types.SimpleNamespace(is_set=lambda: ends)
    daemon._threads = [
        types.SimpleNamespace(name=name, is_alive=lambda runs=runs: runs)
        for name, runs in (('worker 0', False), ('orphans', True))
    ]
    assert daemon._what_hangs() == hangs


@pytest.mark.parametrize(
    ('leads', 'works', 'ends', 'missing'),
    [
        (False, False, False, ''),
        (True, True, False, ''),
        (True, False, False, 'reading pods, networks and port objects'),
        (True, True, True, 'about to end'),
    ],
)
def test_what_a_replica_waits_for_is_named(
    daemon, leads, works, ends, missing
):
    daemon._leadership = types.SimpleNamespace(is_leader=lambda: leads)
    daemon._over = types.SimpleNamespace(is_set=lambda: ends)
    daemon._working = works
    assert daemon._what_is_missing() == missing


def test_a_pod_is_left_alone_by_who_does_not_lead(daemon):
    reconciled = []
    daemon._reconciler = types.SimpleNamespace(reconcile=reconciled.append)
    daemon._reconcile_pod('uid-web')
    daemon._leadership = types.SimpleNamespace(is_leader=lambda: False)
    daemon._reconcile_pod('uid-db')
    assert reconciled == ['uid-web']


def test_two_looks_at_the_lease_fit_into_its_time(monkeypatch):
    timeouts = []

    def make_session(daemon, timeout):
        timeouts.append(timeout)
        return 'a session'

    monkeypatch.setattr(ControllerDaemon, '_make_session', make_session)
    conf = register_daemon_options(load_config([]))
    daemon = ControllerDaemon(conf, 'me')
    daemon.health._server.server_close()
    own = conf.sriov_controller
    assert timeouts == [10, own.lease_duration / 5]
    assert daemon._leadership._timing.deadline > 2 * timeouts[1]


def port_on(*networks):
    """A port object with a VIF on each network."""
    vifs = [dataclasses.replace(VIF, network=one) for one in networks]
    return PortObject(POD, vifs_json=to_json(tuple(vifs)))


def test_pods_that_are_gone_wait_behind_those_of_their_networks_only(daemon):
    pods = {'there': types.SimpleNamespace(networks=frozenset('a'))}
    ports = {
        'there': port_on('ns/a'),
        'gone': port_on('ns/a', 'ns/b'),
        'twin': port_on('ns/b', 'ns/a'),
        'other': port_on('ns/c'),
        'garbled': PortObject(POD, vifs_json='{'),
    }
    daemon._pods, daemon._ports = pods, ports
    lanes = {uid: daemon._lane_of(uid) for uid in [*ports, 'unknown']}
    assert lanes.pop('there') == frozenset('a')
    assert lanes['gone'] == lanes['twin']
    assert len(set(lanes.values())) == 4


@pytest.mark.parametrize('works', [True, False])
def test_each_gauge_shows_its_own(daemon, works):
    shown = {}
    daemon._metrics = types.SimpleNamespace(
        add_gauge=lambda name, text, read: shown.update({name: read})
    )
    daemon._queue = types.SimpleNamespace(
        depth=lambda: 2, longest_wait=lambda: 3.0
    )
    daemon._pods, daemon._watched_ports = range(4), range(5)
    changes = types.SimpleNamespace(count=6)
    daemon._reconciler = types.SimpleNamespace(changes=changes)
    daemon._events = types.SimpleNamespace(dropped=7)
    daemon._working = works
    daemon._add_gauges()
    assert {name: read() for name, read in shown.items()} == {
        'leader': 1,
        'queue_depth': 2,
        'queue_wait_seconds': 3,
        'pods': 4,
        'port_objects': 5,
        'changed_vifs': 6 if works else 0,
        'events_dropped': 7,
    }
