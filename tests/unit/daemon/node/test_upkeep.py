# SPDX-License-Identifier: Apache-2.0
"""What a node does by itself, and when."""

import threading
import time
import types

import pytest

from kuryr_sriov_daemon.node import upkeep as upkeep_module
from kuryr_sriov_daemon.node.drift_watch import DriftWatch
from kuryr_sriov_daemon.node.upkeep import Upkeep

LONG = 3600.0


class Node:
    """Notes what it is asked for."""

    def __init__(self):
        self.calls = []
        self._called = threading.Condition()

    def wait_for(self, call):
        with self._called:
            assert self._called.wait_for(lambda: call in self.calls, 60)

    def _note(self, call):
        with self._called:
            self.calls.append(call)
            self._called.notify_all()

    def list_offered(self):
        self._note('list_offered')
        return {'intel.com/physnet22': frozenset({'0000:02:10.0'})}

    def reconcile(self):
        self._note('reconcile')
        return types.SimpleNamespace(failed=(), restored=())

    def attachments(self):
        self._note('check')
        return ()


@pytest.fixture
def node():
    return Node()


@pytest.fixture
def make(node):
    made = []

    def make(reconcile_every=LONG, check_every=LONG):
        view = types.SimpleNamespace(
            is_complete=False, list_pods=dict, trouble=''
        )
        upkeep = Upkeep(
            *(node, DriftWatch(node, LONG), view, None, lambda event: None),
            *(reconcile_every, check_every),
        )
        upkeep.start()
        made.append(upkeep)
        return upkeep

    yield make
    for upkeep in made:
        upkeep.stop()


def test_vfs_are_counted_at_once_and_all_else_after_its_period(make, node):
    upkeep = make()
    node.wait_for('list_offered')
    upkeep.stop()
    assert node.calls == ['list_offered']
    assert upkeep.offered == {
        'intel.com/physnet22': frozenset({'0000:02:10.0'})
    }


@pytest.mark.parametrize('call', ['reconcile', 'check'])
def test_what_is_due_is_done(make, node, call):
    make(**{f'{call}_every': 0.01})
    node.wait_for(call)


def test_a_reconcile_that_is_asked_for_is_done_soon(make, node, monkeypatch):
    monkeypatch.setattr(upkeep_module, 'SOON', 0.01)
    upkeep = make()
    upkeep.reconcile_soon()
    node.wait_for('reconcile')


def test_one_that_is_due_sooner_is_not_put_off(make, node, monkeypatch):
    monkeypatch.setattr(upkeep_module, 'SOON', LONG)
    upkeep = make(reconcile_every=0.2)
    began = time.monotonic()
    upkeep.reconcile_soon()
    node.wait_for('reconcile')
    assert time.monotonic() - began < LONG
