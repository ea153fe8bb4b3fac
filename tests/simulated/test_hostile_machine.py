# SPDX-License-Identifier: Apache-2.0
"""Pods that do all they can: the machine's rules, and root's in each pod.

Their processes may do what ``CAP_NET_ADMIN`` and ``CAP_SYS_ADMIN`` allow in
a network namespace of their own, and their authors what the API server lets
them write. Whatever they do, DEL ends, the next pod on the VF finds nothing
of it, and nobody has more than he may have.
"""

import collections
import contextlib
import dataclasses
import itertools
import json

import cluster
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from test_machine import PFS, WHICH, Machine

from kuryr_sriov import exceptions
from kuryr_sriov.npwg.requests import NETWORKS, pod_of

SETTINGS = settings(max_examples=20, stateful_step_count=40)

OWN_MAC = '02:00:00:00:66:01'
ROUTERS_MAC = '00:00:5e:00:01:07'
GROUP_MAC = '01:00:5e:00:00:01'
STOLEN = 'stolen'
"""Stands for what another pod has."""


WISHES = st.sampled_from(
    [
        {'ips': [STOLEN]},
        {'ips': ['192.168.2.3']},
        {'ips': ['192.168.2.7']},  # broadcast
        {'ips': ['10.0.0.1']},
        {'mac': STOLEN},
        {'mac': OWN_MAC},
        {'mac': ROUTERS_MAC},
        {'mac': GROUP_MAC},
        {'default-route': ['9.9.9.9']},
        {'namespace': 'kube-system'},
        {'interface': 'eth0'},
        {'interface': 'net3'},
        {'name': cluster.SUBNET_IDS[0]},
        {'name': cluster.SUBNET_IDS[1]},
    ]
)
"""What a pod's author may add to an entry of the networks annotation."""

EDITS = st.lists(
    st.tuples(WISHES, st.integers(0, 1), st.sampled_from([0, 0, 0, 0, -1, 1])),
    min_size=2,
    max_size=5,
)


def as_requested(vifs):
    """Without what activation has changed."""
    return [dataclasses.replace(vif, active=False) for vif in vifs]


def deed(name, *arguments):
    """A method of the machine, with these arguments after its VF."""
    return lambda machine, *vf: getattr(machine, name)(*vf, *arguments)


# Names of the node's interfaces are free in a pod; an interface that comes
# home by itself brings its names along.
NAMES = 'net1', 'net2', 'eth0', 'dev5', 'ens6'
DEEDS = st.sampled_from(
    [
        *(deed('rename', name) for name in NAMES),
        *(deed('add_altname', name) for name in NAMES),
        deed('add_traits', {'xdp': '7'}),
        deed('add_traits', {'flags': '0x1082'}),  # IFF_NOARP
        deed('add_traits', {'flags': '0x1302', 'promiscuity': '1'}),
        deed('add_traits', {'txqueuelen': '5', 'group': '9'}),
        deed('add_traits', {'qdisc': 'pfifo'}),
        deed('set_link', {'mtu': 68}),
        deed('set_link', {'mtu': 9000}),
        deed('set_link', {'up': False}),
        deed('set_link', {'up': True}),
        deed('set_link', {'alias': 'ens8v0'}),
        deed('set_link', {'mac': OWN_MAC}),
        deed('take_the_address_of_another'),
        deed('hide'),
        deed('hide'),
    ]
)


class HostileMachine(Machine):
    """The rules of hostile pods, and of their authors.

    :ivar spoiled: VFs in pods that have done something to them: whether
        CHECK notices depends on what.
    :ivar caves: network namespaces that a pod has made within its own, by
        the container id of its sandbox.
    :ivar identities: of sandboxes' network namespaces, by path.
    """

    def __init__(self, make_world, nic):
        self.spoiled = set()
        self.caves = collections.defaultdict(list)
        self.cave_numbers = itertools.count(1)
        self.identities = {}
        super().__init__(make_world, nic)

    # What is different where pods are hostile.

    def nad(self, namespace, name):
        """Pods may choose addresses and MACs on the first network."""
        nad = super().nad(namespace, name)
        if name == cluster.SUBNET_IDS[0]:
            annotations = nad['metadata']['annotations']
            wanted = json.loads(annotations['openstack.org/kuryr-config'])
            wanted['allow'] = ['ips', 'mac']
            annotations['openstack.org/kuryr-config'] = json.dumps(wanted)
        return nad

    def see_to_a_sandbox(self, pod):
        fresh = not pod.sandbox
        super().see_to_a_sandbox(pod)
        if fresh:
            path = pod.sandbox.netns
            self.identities[path] = self.identity(path)

    def identity(self, path):
        host = self.world.node.host
        return host.boot_id(), host.links.identify(path)

    def alive(self, sandbox):
        """Whether it is that one, and not another at the same path."""
        path = sandbox.netns
        return super().alive(sandbox) and (
            self.identity(path) == self.identities[path]
        )

    def end(self, pod, netns_leaks=False):
        sandbox = pod.sandbox
        super().end(pod, netns_leaks)
        if sandbox and not netns_leaks:
            self.leave_caves(sandbox.container_id)

    def leave_caves(self, container_id):
        """The last process in the pod's inner namespaces ends."""
        for path in self.caves.pop(container_id, ()):
            if self.world.node.host.links.alive(path):
                self.world.node.delete_netns(path)

    def add_to(self, pod, trouble=None, one_by_one=False):
        if pod.vifs:  # its author may ask for none by now
            super().add_to(pod, trouble, one_by_one)

    def has_attached(self, pod, attached):
        super().has_attached(pod, attached)
        for each in attached:
            pci = each.location.pci_slot
            self.spoiled.discard(pci)
            self.report(pod, each)
            self.is_as_if_nobody_had_it_before(pci, each.vif)

    def report(self, pod, attached):
        """As the controller does, who tries again once a VF is free."""
        report = pod_of(pod.body), attached.vif, attached.location
        try:
            self.controller.activate(*report)
        except exceptions.DeviceBusy:
            assert self.orphans
            self.collect_orphans()
            self.controller.activate(*report)

    def is_as_if_nobody_had_it_before(self, pci, vif):
        state, first = self.world.node.state()[pci], self.first[pci]
        assert not state.stalled
        if state.link is None:
            return
        assert state.link.name == vif.ifname
        assert state.link.altnames == first.link.altnames
        assert state.link.traits == first.link.traits
        assert state.addresses == vif.addresses

    def check(self, pci, key):
        if pci in self.spoiled:
            with contextlib.suppress(exceptions.Drifted):
                self.node.check(*key)
        else:
            super().check(pci, key)

    # What processes in a pod do to its interface.

    @precondition(lambda self: self.attached)
    @rule(which=WHICH, deeds=st.lists(DEEDS, min_size=1, max_size=3))
    def spoil(self, which, deeds):
        """As far as the kernel lets the pod."""
        pci = sorted(self.attached)[which % len(self.attached)]
        self.spoiled.add(pci)
        for deed in deeds:
            state = self.world.node.state()[pci]
            if state.link and state.netns:
                link = self.world.node.host.links.find(pci, state.netns)
                with contextlib.suppress(OSError, exceptions.KernelError):
                    deed(self, pci, state.netns, link.index)

    def rename(self, pci, netns, index, name):
        self.world.node.rename(pci, name)

    def add_altname(self, pci, netns, index, name):
        self.world.node.add_altname(pci, name)

    def add_traits(self, pci, netns, index, traits):
        self.world.node.spoil(pci, **traits)

    def set_link(self, pci, netns, index, settings):
        self.world.node.host.links.set(index, netns, **settings)

    def take_the_address_of_another(self, pci, netns, index):
        for vif in itertools.chain(*(pod.vifs for pod in self.pods)):
            links = self.world.node.host.links
            links.add_address(index, vif.addresses[0], netns)

    def hide(self, pci, netns, index):
        """In a network namespace that has no name on the node."""
        container_id, _ifname = self.attached[pci]
        path = f'/proc/{next(self.cave_numbers)}/ns/net'
        self.world.node.add_netns(path)
        self.caves[container_id].append(path)
        self.world.node.host.links.set(index, netns, to=path)

    @precondition(lambda self: self.attached)
    @rule(which=WHICH)
    def kill_a_program_that_drives_it(self, which):
        pci = sorted(self.attached)[which % len(self.attached)]
        if self.world.node.state()[pci].driver == 'vfio-pci':
            self.world.node.stall(pci)

    @precondition(lambda self: self.caves)
    @rule(which=WHICH)
    def come_out(self, which):
        """Its interface comes home by itself, long after its pod maybe."""
        container_ids = sorted(self.caves)
        self.leave_caves(container_ids[which % len(container_ids)])
        self.spoiled |= set(self.attached)

    @precondition(lambda self: self.pods)
    @rule(which=WHICH, gone=st.booleans(), recover=st.booleans())
    def end_and_have_another_at_the_path(self, which, gone, recover):
        """``/proc/PID/ns/net`` is another process' by the time of DEL."""
        pod = self.pick(which)
        sandbox = pod.sandbox
        if gone:
            self.go(pod, netns_leaks=False)
        else:
            self.end(pod)
        node = self.world.node
        if sandbox and not node.host.links.alive(sandbox.netns):
            node.add_netns(sandbox.netns)
            node.add_interface('net1', sandbox.netns)
        if recover:
            self.reconcile(None)

    # What a pod's author does.

    @precondition(lambda self: self.pods)
    @rule(which=WHICH, edits=EDITS)
    def edit_the_annotation(self, which, edits):
        for edit in edits:
            self.edit(self.pick(which), *edit)

    @rule(pfs=PFS, edits=EDITS)
    def schedule_with_wishes(self, pfs, edits):
        """Nobody uses the pod's ports yet: what is allowed is had."""
        pod = self.schedule_with_vifs(pfs)
        if pod:
            for edit in edits:
                self.edit(pod, *edit)
            self.add_to(pod)

    def edit(self, pod, wish, at, more):
        """Have one network with that wish, and so many more or fewer."""
        running = pod.uid in self.running_uids()
        if pod.sandbox and not running:
            return  # its next ADD is for another sandbox then
        resources = [device.resource for device in pod.devices]
        entries = [
            {
                'name': cluster.SUBNET_IDS[resource.endswith('23')],
                'interface': f'net{place}',
            }
            for place, resource in enumerate((*resources, resources[0]), 1)
        ][: len(resources) + more]
        for entry in entries[at : at + 1]:
            entry.update(self.steal(pod, wish, entry['name']))
        metadata = {
            **pod.body['metadata'],
            'annotations': {NETWORKS: json.dumps(entries)},
        }
        pod.body = {**pod.body, 'metadata': metadata}
        before = pod.vifs
        try:
            vifs = self.controller.request(pod.body)
        except exceptions.KuryrSriovError:
            assert pod.vifs == before
            return
        # What is active since it was published is not published again.
        assert as_requested(pod.vifs) == as_requested(vifs)
        if running:  # all that is in use stays
            assert {vif.id for vif in before} <= {vif.id for vif in vifs}
            if len(vifs) > len(before):
                self.end(pod)  # so that it gets what it has no VF for yet

    def running_uids(self):
        """Of pods with all that they were promised."""
        container_ids = {key[0] for key in self.attached.values()}
        return {
            pod.uid
            for pod in self.pods
            if pod.sandbox and pod.sandbox.container_id in container_ids
        }

    def steal(self, thief, wish, network):
        """The wish, with what another pod has in place of ``STOLEN``."""
        victim = next(
            (
                vif
                for pod in self.pods
                if pod is not thief
                for vif in pod.vifs
                if vif.network.endswith(network)
            ),
            None,
        )
        if wish.get('ips') == [STOLEN]:
            ip = victim.addresses[0] if victim else '192.168.2.2'
            return {'ips': [ip.partition('/')[0]]}
        if wish.get('mac') == STOLEN:
            return {'mac': victim.mac if victim else OWN_MAC}
        return wish

    # What must hold at any time.

    @invariant()
    def each_address_has_one_pod(self):
        """But a pod may ask for none by now."""
        owned = list(self.controller.vifs.list_vifs())
        uids = {pod.uid for pod in self.pods}
        assert {each.pod.uid for each in owned} <= uids | self.orphans
        for pod in self.pods:
            ours = {each.vif.id for each in owned if each.pod.uid == pod.uid}
            assert ours == {vif.id for vif in pod.vifs}
        taken = [
            (each.vif.network, text)
            for each in owned
            for text in (each.vif.mac, *each.vif.addresses)
        ]
        assert len(set(taken)) == len(taken)

    @invariant()
    def nobody_has_more_than_he_may_have(self):
        for pod in self.pods:
            assert len(pod.vifs) <= len(pod.devices)
            for vif in pod.vifs:
                assert vif.mac not in (ROUTERS_MAC, GROUP_MAC)
                assert vif.ifname not in ('lo', 'eth0')
                if vif.network.endswith(cluster.SUBNET_IDS[1]):
                    assert vif.mac != OWN_MAC  # its NAD does not allow it
                    assert not vif.gateways


@pytest.mark.parametrize('nic', ['igb', 'i40e', 'mlx5_core'])
def test_no_hostile_pod_reaches_the_next_or_keeps_its_vf(world, nic):
    def machine():
        return HostileMachine(type(world), nic)

    run_state_machine_as_test(machine, settings=SETTINGS)
