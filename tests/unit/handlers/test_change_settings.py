# SPDX-License-Identifier: Apache-2.0
"""A change is on record before it is made, and under the lock of its PF."""

import contextlib
import dataclasses

import pytest
from values import VIF

from kuryr_sriov import exceptions, model
from kuryr_sriov.handlers.change_settings import SettingsChange
from kuryr_sriov.handlers.events import ignore_event

PF, PCI = '0000:02:00.0', '0000:02:10.0'
RECORD = model.Attachment(
    model.Sandbox('c1', '/run/netns/c1', model.Pod('n', 'p', 'uid')),
    VIF,
    PCI,
    driver='netdevice',
    pf=PF,
    done=True,
)
NEWER = dataclasses.replace(VIF, max_tx_rate=7)
INTENDED = dataclasses.replace(RECORD, pending=NEWER)


class World:
    """Ledger, wiring and locks, in one; all that they do in order."""

    def __init__(self, *records):
        self.records, self.done = records, []
        self.change = SettingsChange(self, self, self.lock, ignore_event)
        self.error = None

    @contextlib.contextmanager
    def lock(self, pcis):
        self.done.append(('lock', *pcis))
        yield
        self.done.append(('free', *pcis))

    def of(self, container_id, ifname):
        assert self.done == [('lock', PF)], 'what is read may change'
        assert (container_id, ifname) == ('c1', 'net1')
        return self.records

    def save(self, records):
        self.done.append(('save', *records))

    def change_settings(self, attachment, vif):
        self.done.append(('set', attachment, vif))
        if self.error:
            raise self.error


def test_it_is_on_record_before_and_after_and_all_under_one_lock():
    world = World(RECORD)
    assert world.change.apply(RECORD, NEWER)
    assert world.done == [
        ('lock', PF),
        ('save', INTENDED),
        ('set', INTENDED, NEWER),
        ('save', dataclasses.replace(RECORD, vif=NEWER)),
        ('free', PF),
    ]


def test_a_change_that_fails_stays_on_record_as_intended():
    world = World(RECORD)
    world.error = exceptions.DeviceBusy('no link')
    with pytest.raises(exceptions.DeviceBusy):
        world.change.apply(RECORD, NEWER)
    assert [step for step, *_ in world.done] == ['lock', 'save', 'set']


def test_what_a_kill_left_half_way_is_finished():
    world = World(INTENDED)
    assert world.change.apply(RECORD, NEWER)
    assert [step for step, *_ in world.done] == [
        *('lock', 'save', 'set', 'save', 'free')
    ]
    assert World(INTENDED).change.apply(INTENDED, VIF)


@pytest.mark.parametrize(
    'now',
    [
        dataclasses.replace(RECORD, pci='0000:02:10.2'),
        dataclasses.replace(RECORD, vif=dataclasses.replace(VIF, id='other')),
        dataclasses.replace(RECORD, done=False),
        dataclasses.replace(RECORD, owed='a name'),
    ],
)
def test_a_vf_that_the_pod_does_not_have_any_more_is_left_alone(now):
    world = World(now)
    assert not world.change.apply(RECORD, NEWER)
    assert not World().change.apply(RECORD, NEWER)
    assert [step for step, *_ in world.done] == ['lock', 'free']


def test_what_is_so_already_is_no_change():
    world = World(RECORD)
    other = dataclasses.replace(VIF, mtu=9000)  # no setting of the PF
    assert not world.change.apply(RECORD, other)
    assert [step for step, *_ in world.done] == ['lock', 'free']
