# SPDX-License-Identifier: Apache-2.0
"""A change at the provider that is on its way is no drift; all else is."""

import pytest
from guards import guard

from kuryr_sriov import Drifted
from kuryr_sriov_daemon.node import drift_watch


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(drift_watch.time, 'monotonic', lambda: self.now)


class Node:
    error = None

    def check(self, container_id, ifname=''):
        if self.error:
            raise self.error


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def node():
    return Node()


@pytest.fixture
def watch(node, clock):
    return guard(drift_watch.DriftWatch(node, 100), '_first_seen')


def test_what_may_settle_is_drift_once_it_has_lasted(node, watch, clock):
    node.error = Drifted('max_tx_rate', may_settle=True)
    watch.check('c0ffee', 'net1')
    clock.now = 99
    watch.check('c0ffee', 'net1')
    clock.now = 100
    with pytest.raises(Drifted):
        watch.check('c0ffee', 'net1')


def test_what_cannot_settle_is_drift_at_once(node, watch):
    node.error = Drifted('vlan')
    with pytest.raises(Drifted):
        watch.check('c0ffee', 'net1')


def test_what_has_settled_has_its_time_again(node, watch, clock):
    for clock.now in (0, 150):
        node.error = Drifted('trust', may_settle=True)
        watch.check('c0ffee', 'net1')
        node.error = None
        watch.check('c0ffee', 'net1')


def test_a_sandbox_that_is_gone_is_forgotten(node, watch, clock):
    node.error = Drifted('trust', may_settle=True)
    watch.check('c0ffee', 'net1')
    watch.forget_others({'other'})
    clock.now = 150
    watch.check('c0ffee', 'net1')
    watch.forget_others({'c0ffee'})
    clock.now = 250
    with pytest.raises(Drifted):
        watch.check('c0ffee', 'net1')
