# SPDX-License-Identifier: Apache-2.0
"""Two controllers, a Neutron that loses and delays, pods that come and go.

A Hypothesis machine on the client's seam: the drivers are those of two
processes, the Neutron behind them is one. Any of their requests may be lost,
its answer may be lost, or it may arrive long after its sender gave up. The
one that was deposed may act for a while as if it led, also between two
requests of the one that leads.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from neutronports import make_conf

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients import neutron
from kuryr_sriov.drivers.neutron import NeutronVIFDriver, driver
from kuryr_sriov.handlers.orphans import OrphanCollector

NODE = 'node-1'
START = datetime(2026, 1, 1, tzinfo=UTC)
TROUBLES = st.sampled_from([None, None, 'request', 'answer', 'late'])
WHICH = st.integers(0, 7)
MEANWHILE = st.sampled_from([None, None, 'deliver', 'request', 'wire'])
CALLS = st.integers(0, 3)
GONE = exceptions.ProviderUnavailable, neutron.NeutronRefused


class Cloud:
    """Neutron's ports, with what its API promises of them."""

    def __init__(self) -> None:
        self.ports: dict[str, dict[str, Any]] = {}
        self.numbers = itertools.count(1)
        self.late: list[Callable[[], object]] = []
        self.trouble: str | None = None
        self.meanwhile: Callable[[], object] | None = None
        self.calls_before = 0

    def begin(self) -> None:
        """A request arrives; before it maybe something else happens."""
        if self.meanwhile is None:
            return
        if self.calls_before:
            self.calls_before -= 1
            return
        act, self.meanwhile = self.meanwhile, None
        trouble, self.trouble = self.trouble, None
        act()
        self.trouble = trouble

    def do(self, action: Callable[[], Any]) -> Any:
        """Carry it out, unless trouble is on the way there or back."""
        self.begin()
        trouble, self.trouble = self.trouble, None
        if trouble == 'late':
            self.late.append(action)
        elif trouble != 'request':
            answer = action()
            if trouble is None:
                return answer
        if trouble is not None:
            raise exceptions.ProviderUnavailable(f'{trouble} lost')
        return None

    def deliver(self) -> None:
        """What was late arrives, in the order it was sent."""
        late, self.late = self.late, []
        for action in late:
            with contextlib.suppress(exceptions.KuryrSriovError):
                action()

    def create(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        made = []
        for body in bodies:
            number = next(self.numbers)
            port = {
                **body,
                'id': f'port-{number:04}',
                'mac_address': f'fa:16:3e:00:{number >> 8:02x}:'
                f'{number & 255:02x}',
                'fixed_ips': [
                    {'subnet_id': 'sub', 'ip_address': f'10.0.0.{number}'}
                ],
                'binding:vif_type': 'hw_veb',
                'binding:vif_details': {'vlan': '7'},
                'binding:profile': {},
                'status': 'DOWN',
                'created_at': (START + timedelta(seconds=number)).isoformat(),
                'revision_number': 1,
            }
            self.ports[port['id']] = port
            made.append(dict(port))
        return made

    def update(self, id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        port = self._get(id)
        port.update(changes)
        port['revision_number'] += 1
        return dict(port)

    def delete(self, id: str, revision: int | None) -> None:
        port = self._get(id)
        if revision not in (None, port['revision_number']):
            raise exceptions.ProviderUnavailable('Revision 412')
        del self.ports[id]

    def _get(self, id: str) -> dict[str, Any]:
        if id not in self.ports:
            raise neutron.NeutronRefused('gone', 'PortNotFound', 404)
        return self.ports[id]


class Client:
    """The client's methods, as far as the driver calls them."""

    cloud: Cloud

    def __init__(self, conf: Any) -> None:
        pass

    def create_ports(self, ports: Any) -> Any:
        return self.cloud.do(lambda: self.cloud.create(list(ports)))

    def update_port(self, port: str, changes: Any) -> Any:
        return self.cloud.do(lambda: self.cloud.update(port, changes))

    def delete_port(self, port: str, revision: int | None = None) -> None:
        with contextlib.suppress(neutron.NeutronRefused):
            self.cloud.do(lambda: self.cloud.delete(port, revision))

    def get(self, collection: str, name: str, id: str) -> Any:
        self.cloud.begin()
        return dict(self.cloud._get(id))

    def list_ports(self, filters: Mapping[str, str]) -> Any:
        self.cloud.begin()
        found = [
            dict(port)
            for port in self.cloud.ports.values()
            if all(port[key] == value for key, value in filters.items())
        ]
        return found, START + timedelta(days=1)


STRANGER = model.Pod('default', 'stranger', 'uid-0', NODE)
SUBNET = model.Subnet('sub', 'net', 'physnet22', '10.0.0.0/16')


@dataclasses.dataclass
class Running:
    """A pod that the API server has.

    :ivar slot: of its first VF.
    :ivar promised: the VIFs that its node has been told of, by interface.
    :ivar used: ids of the ports on VFs, by interface.
    :ivar may_have_doubles: a request arrived late, or the one that was
        deposed acted: until orphans are collected there may be one.
    """

    pod: model.Pod
    ifnames: tuple[str, ...]
    slot: int
    promised: dict[str, model.Vif] = dataclasses.field(default_factory=dict)
    used: dict[str, str] = dataclasses.field(default_factory=dict)
    may_have_doubles: bool = False

    def requests(self) -> list[model.NetworkRequest]:
        return [
            model.NetworkRequest(
                'default', 'nad', name, subnets=(SUBNET,), resource='r'
            )
            for name in self.ifnames
        ]

    def place(self, ifname: str) -> model.Location:
        """Where its VF of that interface is."""
        slot = f'0000:02:{self.slot:02x}.{ifname[-1]}'
        return model.Location(NODE, slot, '8086:10ca', 'physnet22')


class TwoControllers(RuleBasedStateMachine):
    """Whoever leads, and whatever is lost, each pod has its ports once."""

    def __init__(self) -> None:
        super().__init__()
        self.cloud = Client.cloud = Cloud()
        conf = make_conf()
        self.processes = [NeutronVIFDriver(conf) for _ in range(2)]
        for process in self.processes:
            process._lookups.subnet = (  # type: ignore[method-assign]
                lambda id: SUBNET
            )
        self.leader = self.processes[0]
        self.numbers = itertools.count(1)
        self.running: list[Running] = []
        self.late_slots: set[int] = set()  # a report about them is on its way
        self.settled = False
        self.asked: set[str] = set()  # pods, of this leader
        self.doubted: set[str] = set()

    @initialize(hours=st.booleans())
    def both_are_up(self, hours: bool) -> None:
        """For hours maybe: neither looks again without a reason."""
        for process in self.processes:
            process.release_vifs(STRANGER)
        if hours:
            self.minutes_pass()

    def pick(self, which: int) -> Running:
        return self.running[which % len(self.running)]

    @contextlib.contextmanager
    def in_trouble(self, trouble: str | None) -> Iterator[None]:
        """Let the next change suffer it; what it raises is expected."""
        self.cloud.trouble = trouble
        try:
            with contextlib.suppress(*GONE, exceptions.DeviceBusy):
                yield
        finally:
            self.cloud.trouble = None
            self.cloud.meanwhile = None

    @precondition(lambda self: len(self.running) < 3)
    @rule(ifnames=st.sampled_from([('net1',), ('net1', 'net2')]))
    def schedule(self, ifnames: tuple[str, ...]) -> None:
        """On VFs that no running pod has; one that has gone had them maybe."""
        number = next(self.numbers)
        pod = model.Pod('default', f'pod-{number}', f'uid-{number}', NODE)
        taken = {one.slot for one in self.running} | self.late_slots
        slot = next(n for n in itertools.count() if n not in taken)
        self.running.append(Running(pod, ifnames, slot))

    @precondition(lambda self: self.running)
    @rule(which=WHICH, trouble=TROUBLES, meanwhile=MEANWHILE, calls=CALLS)
    def request(
        self,
        which: int,
        trouble: str | None,
        meanwhile: str | None,
        calls: int,
    ) -> None:
        """It is tried again where there was no answer."""
        one = self.pick(which)
        if trouble is not None:
            one.may_have_doubles |= trouble == 'late'
            with self.in_trouble(trouble), self.unless_in_use(one):
                self.ask(one)
        with self.in_trouble(None), self.unless_in_use(one):
            self.interrupt(one, meanwhile, calls)
            self.ask(one, alone=meanwhile in (None, 'deliver'))

    def ask(self, one: Running, alone: bool = True) -> tuple[model.Vif, ...]:
        """The leader's answer, which is the one that was given before.

        :param alone: nobody else makes ports for the pod meanwhile.
        """
        must_look = self.must_look(one)
        doubted = one.pod.uid in self.doubted
        before = self.count_ports(one)
        standing = {
            vif.id
            for vif in one.promised.values()
            if vif.id == self.find_oldest(one, vif.ifname)
        }
        self.doubted.add(one.pod.uid)  # unless there is an answer
        vifs = self.leader.request_vifs(one.pod, one.requests())
        self.doubted.discard(one.pod.uid)
        self.asked.add(one.pod.uid)
        now = self.count_ports(one)
        for vif in vifs:
            name = vif.ifname
            assert vif.id == one.used.get(name, vif.id)
            promised = one.promised.get(name)
            if promised is not None and promised.id in standing:
                assert vif.id == promised.id
            if alone and must_look:
                assert now[name] <= max(before[name], 1)
            if alone and doubted:
                assert now[name] == 1
        one.promised = {vif.ifname: vif for vif in vifs}
        return vifs

    def must_look(self, one: Running) -> bool:
        """Whether the leader may not trust what it knows of the pod."""
        uid = one.pod.uid
        return uid in self.doubted or not (self.settled or uid in self.asked)

    def count_ports(self, one: Running) -> collections.Counter[str]:
        """The pod's ports in Neutron, by interface."""
        return collections.Counter(
            port['name'].rpartition('/')[2]
            for port in self.cloud.ports.values()
            if port['device_id'] == one.pod.uid
        )

    def find_oldest(self, one: Running, ifname: str) -> str:
        """Of doubles that one stays: which was promised, no port tells."""
        ids = (
            port['id']
            for port in self.cloud.ports.values()
            if port['device_id'] == one.pod.uid
            and port['name'].endswith(f'/{ifname}')
        )
        return min(ids, default='')

    def interrupt(self, one: Running, what: str | None, calls: int) -> None:
        """Let something happen after so many calls of the leader."""
        acts = {
            'deliver': self.cloud.deliver,
            'request': lambda: self.act_as_deposed(one),
            'wire': lambda: self.report_to_the_deposed(one),
        }
        self.cloud.meanwhile = acts.get(what or '')
        self.cloud.calls_before = calls

    def act_as_deposed(self, one: Running) -> None:
        (deposed,) = (p for p in self.processes if p is not self.leader)
        one.may_have_doubles = True
        with contextlib.suppress(*GONE), self.unless_in_use(one):
            deposed.request_vifs(one.pod, one.requests())

    def report_to_the_deposed(self, one: Running) -> None:
        (deposed,) = (p for p in self.processes if p is not self.leader)
        for name, vif in one.promised.items():
            with contextlib.suppress(*GONE, exceptions.ProviderRefused):
                deposed.activate_vif(one.pod, vif, one.place(name))
                one.used[name] = vif.id

    @precondition(lambda self: self.running)
    @rule(which=WHICH, trouble=TROUBLES)
    def request_by_the_deposed(self, which: int, trouble: str | None) -> None:
        """Its last answer, or the news that it does not lead, is late."""
        with self.in_trouble(trouble):
            self.act_as_deposed(self.pick(which))

    @contextlib.contextmanager
    def unless_in_use(self, one: Running) -> Iterator[None]:
        """A refusal is right where an interface that is in use is to go."""
        try:
            yield
        except exceptions.ProviderRefused:
            assert not set(self.placed(one)) <= set(one.ifnames)

    def placed(self, one: Running) -> tuple[str, ...]:
        """The pod's interfaces whose VF Neutron knows."""
        return tuple(
            port['name'].rpartition('/')[2]
            for port in self.cloud.ports.values()
            if port['device_id'] == one.pod.uid and port['binding:profile']
        )

    @precondition(lambda self: self.running)
    @rule(which=WHICH, trouble=TROUBLES)
    def wire(self, which: int, trouble: str | None) -> None:
        """The node reports the VFs of what it was promised."""
        one = self.pick(which)
        try:
            vifs = self.ask(one)
        except (*GONE, exceptions.ProviderRefused):
            return
        if trouble == 'late':
            self.late_slots.add(one.slot)
        with self.in_trouble(trouble):
            for vif in vifs:
                place = one.place(vif.ifname)
                self.leader.activate_vif(one.pod, vif, place)
                one.used[vif.ifname] = vif.id

    @precondition(lambda self: self.running)
    @rule(which=WHICH, trouble=TROUBLES)
    def change_ones_mind(self, which: int, trouble: str | None) -> None:
        """What was to go meanwhile is what is used in the end."""
        one = self.pick(which)
        ifnames, others = one.ifnames, ('net1', 'net2', 'net3')
        one.ifnames = tuple(name for name in others if name not in ifnames)
        one.may_have_doubles |= trouble == 'late'
        with self.in_trouble(trouble), self.unless_in_use(one):
            self.ask(one)
        one.ifnames = ifnames
        self.wire(which, None)

    @precondition(lambda self: self.running)
    @rule(which=WHICH, ifnames=st.sampled_from([('net1',), ('net2',)]))
    def edit(self, which: int, ifnames: tuple[str, ...]) -> None:
        """The pod's author writes another annotation."""
        self.pick(which).ifnames = ifnames

    @precondition(lambda self: self.running)
    @rule(which=WHICH, trouble=TROUBLES, seen=st.booleans())
    def delete(self, which: int, trouble: str | None, seen: bool) -> None:
        one = self.running.pop(which % len(self.running))
        must_look = self.must_look(one)
        if seen:
            with self.in_trouble(trouble):
                self.leader.release_vifs(one.pod)
                if must_look:
                    assert not self.count_ports(one)

    @rule(which=WHICH, late=st.booleans())
    def fail_over(self, which: int, late: bool) -> None:
        """What the other one has sent may still be on its way.

        :param late: the other one acts when the new leader has looked.
        """
        a, b = self.processes
        self.leader = b if self.leader is a else a
        self.lead()
        if late and self.running:
            self.leader.release_vifs(STRANGER)
            self.act_as_deposed(self.pick(which))

    def lead(self) -> None:
        self.leader.forget_all()
        self.settled = False
        self.asked.clear()
        self.doubted.clear()

    @rule()
    def minutes_pass(self) -> None:
        self.cloud.deliver()
        self.settled = True
        for process in self.processes:
            process._store.known._settled_at = 0.0

    @rule()
    def collect_orphans(self) -> None:
        alive = {one.pod.uid for one in self.running}
        OrphanCollector(self.leader, 0.0, 100.0).collect(
            lambda pod: pod.uid in alive
        )

    @invariant()
    def what_is_in_use_is_there(self) -> None:
        for one in self.running:
            for name, id in one.used.items():
                assert id in self.cloud.ports, (one.pod.uid, name, id)
                assert self.cloud.ports[id]['device_id'] == one.pod.uid

    @invariant()
    def a_lost_answer_makes_no_port_twice(self) -> None:
        for one in self.running:
            names = [
                port['name']
                for port in self.cloud.ports.values()
                if port['device_id'] == one.pod.uid
            ]
            assert one.may_have_doubles or len(set(names)) == len(names)

    @invariant()
    def no_vf_has_two_ports(self) -> None:
        slots = [
            port['binding:profile']['pci_slot']
            for port in self.cloud.ports.values()
            if port['binding:profile']
        ]
        assert len(set(slots)) == len(slots)

    def teardown(self) -> None:
        """When all is quiet, each pod has its ports once; then none."""
        self.cloud.deliver()
        self.lead()
        self.collect_orphans()  # they may be on the VFs that others have now
        for number in range(len(self.running)):
            one = self.pick(number)
            one.ifnames = self.placed(one) or one.ifnames
            self.wire(number, None)
            self.wire(number, None)
            assert set(one.used) == set(one.ifnames)
        self.collect_orphans()
        expected = {id for one in self.running for id in one.used.values()}
        assert set(self.cloud.ports) == expected
        for one in self.running:
            self.leader.release_vifs(one.pod)
        assert self.cloud.ports == {}


def test_no_port_twice_none_leaked_none_deleted_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver.neutron, 'NeutronClient', Client)
    run_state_machine_as_test(
        TwoControllers,
        settings=settings(max_examples=200, stateful_step_count=40),
    )


STORIES: dict[str, Callable[[TwoControllers], object]] = {
    'the deposed made a port after the new leader had looked': lambda m: (
        m.both_are_up(False),
        m.schedule(('net1',)),
        m.fail_over(0, late=True),
        m.delete(0, None, seen=True),
    ),
    'of two ports the one that was promised stays': lambda m: (
        m.both_are_up(True),
        m.schedule(('net1',)),
        m.request(0, None, None, 0),
        m.request_by_the_deposed(0, None),
        m.fail_over(0, late=False),
        m.request(0, None, None, 0),
    ),
    'a lost request arrives between the look and the next one': lambda m: (
        m.both_are_up(False),
        m.schedule(('net1',)),
        m.request(0, 'late', 'deliver', 1),
    ),
    'a lost deletion arrives when the port is in use': lambda m: (
        m.both_are_up(True),
        m.schedule(('net1',)),
        m.request(0, None, None, 0),
        m.change_ones_mind(0, 'late'),
        m.minutes_pass(),
        m.what_is_in_use_is_there(),
    ),
}
"""Which the machine may tell, and seldom does."""


@pytest.mark.parametrize('story', STORIES.values(), ids=STORIES)
def test_a_story(
    monkeypatch: pytest.MonkeyPatch, story: Callable[[TwoControllers], object]
) -> None:
    monkeypatch.setattr(driver.neutron, 'NeutronClient', Client)
    machine = TwoControllers()
    story(machine)
    machine.teardown()
