# SPDX-License-Identifier: Apache-2.0
"""What a process knows of ports stays consistent, whatever the order."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from kuryr_sriov.drivers.neutron.port_body import Port
from kuryr_sriov.drivers.neutron.port_cache import KnownPorts

ids = st.sampled_from(['p1', 'p2', 'p3', 'p4'])
slots = st.sampled_from(['0000:02:00.1', '0000:02:00.2'])


def port(id: str, pci_slot: str = '') -> Port:
    """Ports 1 and 2 are of one pod, 3 and 4 of another."""
    uid = 'a' if id in ('p1', 'p2') else 'b'
    return Port(id, uid, 'net1', 'net', '', (), 'node', pci_slot=pci_slot)


class KnownPortsMachine(RuleBasedStateMachine):
    """Against a model: a dict of ports, and one of who has which VF."""

    def __init__(self) -> None:
        super().__init__()
        self.known = KnownPorts()
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
    def restart(self) -> None:
        self.known = KnownPorts()
        assert not self.known.loaded
        self.known.load(self.ports.values())
        assert self.known.loaded

    @rule()
    def doubt_and_look(self) -> None:
        self.known.doubt('a')
        assert self.known.in_doubt('a')
        self.known.replace(
            'a', [one for one in self.ports.values() if one.pod_uid == 'a']
        )
        assert not self.known.in_doubt('a')

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
