# SPDX-License-Identifier: Apache-2.0
"""A pod's way through sandboxes, threads and crashes.

kuryr-kubernetes failed in each of these ways.
"""

import collections
import concurrent.futures
import os
import threading
import time

from kuryr_sriov import exceptions
from kuryr_sriov.host.links import Netlink


def test_a_restarted_sandbox_is_attached_again(world):
    node = world.start()
    device = world.vf(1, 0)
    for generation in (1, 2, 3):
        sandbox = world.sandbox(1, device, generation=generation)
        node.attach(sandbox, [world.vif('net1', 1)])
        node.check(sandbox.container_id)
        if generation == 1:
            node.detach(sandbox.container_id)
    assert len(node.ledger.all()) == 1


class Crowd:
    """Counts who configures a PF, and how many they were at most."""

    def __init__(self):
        self.most = collections.Counter()
        self.pf = threading.local()
        self._now = collections.Counter()
        self._lock = threading.Lock()

    def observe(self, step):
        pf = self.pf.now
        with self._lock:
            self._now[pf] += step in ('reclaim', 'restore')
            self._now[pf] -= step in ('confirm', 'forget')
            self.most[pf] = max(self.most[pf], self._now[pf])


def test_one_configuration_at_a_time_per_pf(world):
    """By two daemons, each with threads."""
    before = world.node.state()
    crowd = Crowd()
    nodes = [world.start(observe_beginnings=crowd.observe) for _ in range(2)]
    world.node.on_change(lambda operation: time.sleep(0.001))

    def attach_and_detach(number):
        pf, index = divmod(number, 2)
        crowd.pf.now = pf
        for generation in range(3):
            sandbox = world.sandbox(
                number, world.vf(pf, index), generation=generation
            )
            nodes[index].attach(sandbox, [world.vif('net1', pf)])
            nodes[index].detach(sandbox.container_id)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(attach_and_detach, range(4)))
    assert crowd.most == {0: 1, 1: 1}
    assert world.node.state() == before
    assert nodes[0].ledger.all() == ()


def test_concurrent_records_do_not_overwrite_each_other(world):
    nodes = [world.start(), world.start()]

    def attach(number):
        pf, index = divmod(number, 2)
        sandbox = world.sandbox(number, world.vf(pf, index))
        nodes[index].attach(sandbox, [world.vif('net1', pf)])

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(attach, range(4)))
    assert len(nodes[0].ledger.all()) == 4


def test_del_needs_no_pod_no_kubelet_and_no_netns(world):
    before = world.node.state()
    first = world.start()
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    first.attach(sandbox, world.both())
    world.node.delete_netns(sandbox.netns)

    def nobody_knows(pod):
        raise exceptions.KubeletUnavailable(f'{pod} is gone')

    node = world.start(allocations=nobody_knows)
    node.detach(sandbox.container_id)
    node.detach(sandbox.container_id)
    assert world.node.state() == before


def test_no_netlink_socket_stays_open():
    links = Netlink()
    before = os.listdir('/proc/self/fd')
    for _ in range(3):
        assert links.get(1).name == 'lo'
        assert links.find('0000:7f:1f.7', '') is None
    assert len(os.listdir('/proc/self/fd')) == len(before)
