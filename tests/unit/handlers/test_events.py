# SPDX-License-Identifier: Apache-2.0
"""What the library logs, and what disturbs it not."""

import logging

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.handlers import events
from kuryr_sriov.handlers.events import Event

POD = model.Pod('default', 'nginx', 'uid-1')
VF = {
    'pod': POD,
    'container_id': 'c0ffee',
    'ifname': 'net1',
    'pci': '0000:02:10.0',
    'vif_id': 'port-1',
    'driver': 'netdevice',
}
SUBJECT = (
    'VF 0000:02:10.0, interface net1, port port-1, pod default/nginx, '
    'sandbox c0ffee'
)


@pytest.mark.parametrize(
    ('step', 'words'), [('connect', 'attached'), ('restore', 'restored')]
)
def test_each_vf_attached_or_restored_is_a_line(caplog, step, words):
    caplog.set_level(logging.INFO)
    events.log_event(Event(step, 'done', 'attach', seconds=1.25, **VF))
    (record,) = caplog.records
    assert record.levelname == 'INFO'
    assert record.message == f'{words} {SUBJECT} in 1.250 s'


def test_its_fields_are_those_of_the_record(caplog):
    caplog.set_level(logging.INFO)
    error = exceptions.KernelError('no', 5)
    event = Event(
        'restore', 'undo-failed', 'attach', seconds=1.5, error=error, **VF
    )
    events.log_event(event)
    (record,) = caplog.records
    shown = {**VF, 'pod': 'default/nginx', 'pod_uid': 'uid-1'}
    shown |= {'step': 'restore', 'phase': 'undo-failed', 'seconds': 1.5}
    shown |= {'operation': 'attach', 'error': 'no'}
    assert {name: getattr(record, name) for name in shown} == shown


@pytest.mark.parametrize(
    ('error', 'level'),
    [
        (exceptions.DeviceBusy('in use'), 'WARNING'),
        (exceptions.DeviceMissing('in use'), 'ERROR'),
        (OSError('in use'), 'ERROR'),
    ],
)
def test_a_failed_call_is_a_line(caplog, error, level):
    event = Event(
        'attach',
        'failed',
        'attach',
        pod=POD,
        container_id='c0ffee',
        seconds=2.0,
        error=error,
    )
    events.log_event(event)
    (record,) = caplog.records
    assert record.levelname == level
    assert record.message == (
        'attach failed after 2.000 s: pod default/nginx, sandbox c0ffee: '
        'in use'
    )
    assert bool(record.exc_info) == isinstance(error, OSError)


@pytest.mark.parametrize(
    'event',
    [
        Event('pair', 'failed', 'attach', error=OSError()),
        Event('attach', 'done', 'attach'),
        Event('connect', 'started', 'attach'),
    ],
)
def test_the_rest_is_for_debugging(caplog, event):
    caplog.set_level(logging.INFO)
    events.log_event(event)
    assert caplog.records == []


def test_an_observer_that_fails_is_logged_and_disturbs_nothing(caplog):
    def observe(event):
        raise LookupError

    events.logging_observer(observe)(Event('attach', 'started', 'attach'))
    (record,) = caplog.records
    assert record.message.startswith('the observer failed at Event(')


def test_a_step_that_is_killed_is_told_as_failed():
    seen = []
    with (
        pytest.raises(KeyboardInterrupt),
        events.telling(seen.append, Event('a', 'started', 'attach')),
    ):
        raise KeyboardInterrupt
    assert [event.phase for event in seen] == ['started', 'failed']
    assert isinstance(seen[1].error, KeyboardInterrupt)
