# SPDX-License-Identifier: Apache-2.0
"""What an observer is told of each call: every step, and whom it concerns."""

import dataclasses
import errno

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.handlers.events import Event


@pytest.fixture
def told(world):
    """The events so far; the library as ``told.node``."""

    class Told(list):
        def steps(self):
            """Operation, step, phase and interface; then forget them."""
            words = [
                f'{e.operation}: {e.step} {e.phase} {e.ifname}'.rstrip()
                for e in self
            ]
            self.clear()
            return words

    told = Told()
    told.node = world.start(observe=told.append)
    return told


def ended(operation, *steps):
    """Those that begin and end with nothing in between."""
    return [
        f'{operation}: {step} {phase}'
        for step in steps
        for phase in ('started', 'done')
    ]


def vf_steps(operation, *words):
    return [f'{operation}: {each}' for each in words]


def test_an_attach_tells_each_step_in_order(world, told):
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    told.node.attach(sandbox, world.both())
    assert told.steps() == [
        'attach: attach started',
        *ended('attach', 'validate', 'intend', 'allocate', 'identify'),
        *ended('attach', 'pair', 'complete'),
        'attach: configure started',
        *ended('attach', 'lock', 'reclaim', 'record'),
        'attach: wire started',
        'attach: connect started net1',
        'attach: connect done net1',
        'attach: connect started net2',
        'attach: connect done net2',
        'attach: wire done',
        *ended('attach', 'report', 'confirm'),
        'attach: configure done',
        'attach: attach done',
    ]


def test_what_follows_an_attach_tells_its_steps(world, told):
    sandbox = world.sandbox(1, world.vf(1, 0))
    vif = world.vif('net1', 1)
    told.node.attach(sandbox, [vif])
    told.clear()
    told.node.announce(sandbox.container_id)
    told.node.check(sandbox.container_id)
    newer = dataclasses.replace(vif, max_tx_rate=100)
    (record,) = told.node.attachments()
    told.node.change_settings(record, newer)
    assert told.steps() == [
        'announce: announce started net1',
        'announce: announce done net1',
        'check: check started',
        'check: check done',
        'change: change started net1',
        'change: intend-change started net1',
        'change: intend-change done net1',
        'change: change-settings started net1',
        'change: change-settings done net1',
        'change: confirm-change started net1',
        'change: confirm-change done net1',
        'change: change done net1',
    ]
    told.node.detach(sandbox.container_id)
    assert told.steps() == [
        'detach: detach started',
        'detach: restore started net1',
        'detach: forget started net1',
        'detach: forget done net1',
        'detach: restore done net1',
        'detach: detach done',
    ]


@pytest.mark.parametrize('call', ['reconcile', 'collect_garbage'])
def test_a_vf_that_nobody_owns_any_more_is_told_with_its_call(
    world, told, call
):
    sandbox = world.sandbox(1, world.vf(1, 0))
    told.node.attach(sandbox, [world.vif('net1', 1)])
    world.node.delete_netns(sandbox.netns)
    told.clear()
    arguments = [[]] if call == 'collect_garbage' else []
    getattr(told.node, call)(*arguments)
    operation = call.replace('_', '-')
    assert told.steps() == vf_steps(
        operation,
        f'{operation} started',
        'restore started net1',
        'forget started net1',
        'forget done net1',
        'restore done net1',
        f'{operation} done',
    )


def test_each_step_of_a_vf_names_all_that_it_concerns(world, told):
    device = world.vf(1, 0)
    sandbox = world.sandbox(1, device)
    vif = world.vif('net1', 1)
    told.node.attach(sandbox, [vif])
    told.node.announce(sandbox.container_id)
    newer = dataclasses.replace(vif, max_tx_rate=100)
    (record,) = told.node.attachments()
    told.node.change_settings(record, newer)
    told.node.detach(sandbox.container_id)
    about_vf = [event for event in told if event.pci]
    assert {event.step for event in about_vf} > {'connect', 'restore'}
    for event in about_vf:
        assert event == Event(
            event.step,
            event.phase,
            event.operation,
            pod=sandbox.pod,
            container_id=sandbox.container_id,
            ifname='net1',
            pci=device.pci,
            vif_id=vif.id,
            driver='netdevice',
            seconds=event.seconds,
        )
    about_call = [event for event in told if not event.pci]
    for event in about_call:
        assert event.container_id == sandbox.container_id
        # only its records tell a DEL which pod it was
        detach = event.operation == 'detach'
        assert event.pod == (None if detach else sandbox.pod)


def test_a_failure_is_told_with_its_error_and_time(world, told):
    sandbox = world.sandbox(1, world.vf(1, 0))
    world.node.fail('add_address', errno.ENOSPC)
    with pytest.raises(exceptions.KernelError) as caught:
        told.node.attach(sandbox, [world.vif('net1', 1)])
    failed = [event for event in told if event.phase == 'failed']
    steps = ['connect', 'wire', 'configure', 'attach']
    assert [event.step for event in failed] == steps
    for event in failed:
        assert event.error is caught.value
        assert event.seconds > 0
    undone = [event.step for event in told if event.phase == 'undone']
    assert undone == [
        *('wire', 'record', 'reclaim', 'configure', 'complete', 'pair'),
        *('identify', 'allocate', 'intend', 'validate'),
    ]
