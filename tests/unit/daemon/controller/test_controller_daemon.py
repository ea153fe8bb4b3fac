# SPDX-License-Identifier: Apache-2.0
"""What the daemon does by periods, and what it shows of itself."""

import types

import pytest

from kuryr_sriov import TransientError
from kuryr_sriov_daemon.controller.controller_daemon import ControllerDaemon


class Rounds:
    """Stands for the event that ends a loop: after so many rounds."""

    def __init__(self, number):
        self.left = number

    def wait(self, period):
        assert period == 5
        self.left -= 1
        return self.left < 0


@pytest.fixture
def daemon():
    """Without a cluster: only what a test gives it."""
    daemon = object.__new__(ControllerDaemon)
    daemon._leadership = types.SimpleNamespace(is_leader=lambda: True)
    options = types.SimpleNamespace(changes_period=5)
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
