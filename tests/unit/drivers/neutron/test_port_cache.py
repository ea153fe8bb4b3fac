# SPDX-License-Identifier: Apache-2.0
"""What a process knows of ports stays consistent, whatever the order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import hypothesis.strategies as st
from guards import guard
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from kuryr_sriov import model
from kuryr_sriov.drivers.neutron.port_body import Port
from kuryr_sriov.drivers.neutron.port_cache import KnownPorts

ids = st.sampled_from(['p1', 'p2', 'p3', 'p4'])
slots = st.sampled_from(['0000:02:00.1', '0000:02:00.2'])


def port(id: str, pci_slot: str = '') -> Port:
    """Ports 1 and 2 are of one pod, 3 and 4 of another."""
    pod = model.Pod('ns', 'pod', 'a' if id in ('p1', 'p2') else 'b')
    return Port(id, pod, 'net1', 'net', '', (), 'node', pci_slot=pci_slot)


class KnownPortsMachine(RuleBasedStateMachine):
    """Against a model: a dict of ports, and one of who has which VF."""

    def __init__(self) -> None:
        super().__init__()
        self.known = guard(KnownPorts(), '_pods', '_slots', '_slot_of')
        self.ports: dict[str, Port] = {}
        self.holders: dict[str, str] = {}

    @rule(id=ids)
    def put(self, id: str) -> None:
        if id not in self.ports:
            self.ports[id] = port(id)
        self.known.put(self.ports[id])

    @precondition(lambda self: self.ports)
    @rule(data=st.data(), slot=slots, works=st.booleans())
    def activate(self, data: st.DataObject, slot: str, works: bool) -> None:
        id = data.draw(st.sampled_from(sorted(self.ports)))
        holder = self.known.claim('node', slot, id)
        assert holder == self.holders.get(slot, id)
        if holder != id:
            return
        if works:
            self.free(id)
            self.holders[slot] = id
            changed = dataclasses.replace(self.ports[id], pci_slot=slot)
            self.ports[id] = changed
            self.known.put(changed)
        else:
            self.known.unclaim(id)

    @rule(id=ids)
    def drop(self, id: str) -> None:
        self.known.drop(id)
        self.ports.pop(id, None)
        self.free(id)

    @rule()
    def lead_again(self) -> None:
        self.known.forget_all()
        assert not self.known.loaded
        self.known.load(self.ports.values())
        assert self.known.loaded

    @rule()
    def doubt_and_look(self) -> None:
        self.known.doubt('a')
        assert self.known.lost_track_of('a')
        assert self.known.may_lack_some_of('a')
        self.known.replace(
            'a', [one for one in self.ports.values() if one.pod_uid == 'a']
        )
        assert not self.known.lost_track_of('a')
        assert not self.known.may_lack_some_of('a')

    def free(self, id: str) -> None:
        for slot, holder in list(self.holders.items()):
            if holder == id:
                del self.holders[slot]

    @invariant()
    def agrees(self) -> None:
        for uid in ('a', 'b'):
            expected = {
                one.id for one in self.ports.values() if one.pod_uid == uid
            }
            assert {one.id for one in self.known.of(uid)} == expected
        for slot, holder in self.holders.items():
            assert self.known.claim('node', slot, 'nobody') == holder


TestKnownPorts = KnownPortsMachine.TestCase


def test_the_port_to_use_comes_first() -> None:
    known = KnownPorts()
    for one in (port('p2'), port('p1', '0000:02:00.1')):
        known.put(one)

    assert [one.id for one in known.of('a')] == ['p1', 'p2']


def test_a_pod_may_have_ports_of_a_predecessor_for_a_while() -> None:
    now = [0.0]
    known = KnownPorts(lambda: now[0], settling=100)
    known.load([])
    assert known.may_lack_some_of('a')
    assert not known.lost_track_of('a')

    known.replace('a', [])
    assert not known.may_lack_some_of('a')
    assert known.may_lack_some_of('b')

    now[0] = 100.0
    assert not known.may_lack_some_of('b')
    known.doubt('b')
    assert known.may_lack_some_of('b')

    known.forget_all()
    assert known.may_lack_some_of('a')
    assert not known.loaded


def test_a_vf_that_was_taken_from_a_port_is_free() -> None:
    known = KnownPorts()
    known.put(port('p1', '0000:02:00.1'))
    assert known.claim('node', '0000:02:00.1', 'p3') == 'p1'

    known.replace('a', [port('p1')])

    assert known.claim('node', '0000:02:00.1', 'p3') == 'p3'


def test_a_look_at_a_pod_leaves_the_claim_that_is_under_way() -> None:
    known = KnownPorts()
    known.put(port('p1'))
    assert known.claim('node', '0000:02:00.1', 'p1') == 'p1'

    known.replace('a', [port('p1')])

    assert known.claim('node', '0000:02:00.1', 'p3') == 'p1'


def test_nothing_is_kept_of_a_pod_that_is_gone() -> None:
    known = KnownPorts(settling=0)

    def count_kept() -> int:
        kept = vars(known).values()
        return sum(len(each) for each in kept if hasattr(each, '__len__'))

    for number in range(100):
        placed = port('p1', f'0000:02:00.{number}')
        known.put(placed)
        known.claim('node', placed.pci_slot, 'p1')
        known.doubt('a')
        known.drop('p1')
        known.replace('a', [])
        assert count_kept() == 0


def test_a_pods_ports_are_looked_up_in_one_step() -> None:
    """None of them may go between its id and its look-up."""
    known = KnownPorts()
    known.put(port('p1'))

    class Watched(list[str]):
        def __iter__(self) -> Iterator[str]:
            assert known._lock.locked()
            return super().__iter__()

    known._pods['a'] = Watched(known._pods['a'])  # type: ignore[assignment]

    assert [one.id for one in known.of('a')] == ['p1']
