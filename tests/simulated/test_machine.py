# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to a node, no VF, address or record is lost or shared.

Hypothesis runs pods through a controller and a node in any order, with
crashes, errors, reboots and lost DELs in between, next to a model of who
has what.
"""

import contextlib

import cluster
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kuryr_sriov import exceptions
from kuryr_sriov.handlers.restore import Reconciled
from kuryr_sriov.npwg.requests import pod_of

SETTINGS = settings(max_examples=40, stateful_step_count=40)

PFS = st.sampled_from([(0,), (1,), (0, 1), (1, 1)])
WHICH = st.integers(0, 11)
TROUBLE = st.one_of(
    st.none(),
    st.tuples(st.just(cluster.KILL), st.integers(0, 25)),
    st.tuples(st.just(cluster.FAIL), st.integers(0, 9)),
)


class Machine(cluster.Cluster):
    """The rules; what must hold is in the invariants.

    :ivar first: the state of each function when nobody uses it.
    :ivar attached: the key of what is attached, by the VF's PCI address.
    :ivar meddled: VFs that are not as they were attached.
    :ivar orphans: uids of pods that the controller has not seen go.
    :ivar broken: container ids whose only ADD was killed half-way.
    :ivar ended: sandboxes for which a late DEL may come.
    """

    def __init__(self, make_world, nic):
        super().__init__(make_world, nic)
        self.first = self.world.node.state()
        self.orphans = set()
        self.attached = {}
        self.meddled = set()
        self.broken = set()
        self.ended = []

    def teardown(self):
        self.everything_goes()
        self.close()

    def give_up(self, container_id):
        """What is attached to that sandbox is so no more, or not surely."""
        self.attached = {
            pci: key
            for pci, key in self.attached.items()
            if key[0] != container_id
        }

    def end(self, pod, netns_leaks=False):
        """The pod's sandbox ends, DEL or no DEL."""
        if pod.sandbox:
            self.give_up(pod.sandbox.container_id)
            self.ended.append(pod.sandbox)
            if not netns_leaks and self.alive(pod.sandbox):
                self.world.node.delete_netns(pod.sandbox.netns)
            pod.sandbox = None

    # Rules.

    @initialize()
    def some_run_already(self):
        """And one has gone without a DEL, but for its netns."""
        for pfs in ((0, 1), (1,), (0,)):
            self.add_to(self.schedule_with_vifs(pfs))
        self.go(self.pods[-1], netns_leaks=True)

    @rule(pfs=PFS, trouble=TROUBLE)
    def schedule(self, pfs, trouble):
        """A pod gets VFs by the kubelet and VIFs by the controller."""
        self.schedule_with_vifs(pfs, trouble)

    @rule(pfs=PFS, trouble=TROUBLE, recover=st.booleans())
    def run(self, pfs, trouble, recover):
        """It also gets its VFs, or the node crashes."""
        pod = self.schedule_with_vifs(pfs)
        if pod:
            self.add_to(pod, trouble)
        if recover:
            self.reconcile(None)

    def schedule_with_vifs(self, pfs, trouble=None):
        pod = self.schedule_on(pfs)
        if pod is None:
            return None
        first, again = (
            self.act(
                cause,
                self.controller.request,
                pod.body,
                unless=exceptions.ProviderExhausted if self.orphans else (),
            )
            for cause in (trouble, None)
        )
        assert first in (cluster.DIED, again) or type(first) is type(again)
        if isinstance(again, exceptions.ProviderExhausted):
            self.pods.remove(pod)
            return None
        assert pod.vifs == again
        return pod

    @precondition(lambda self: self.pods)
    @rule(
        which=WHICH,
        trouble=TROUBLE,
        one_by_one=st.booleans(),
        recover=st.booleans(),
    )
    def add(self, which, trouble, one_by_one, recover):
        """ADD, also a repeated one, or in a new sandbox."""
        self.add_to(self.pick(which), trouble, one_by_one)
        if recover:
            self.reconcile(None)

    def add_to(self, pod, trouble=None, one_by_one=False):
        if pod.sandbox and not self.alive(pod.sandbox):
            self.end(pod)
        self.see_to_a_sandbox(pod)
        container_id = pod.sandbox.container_id
        fresh = not self.node.ledger.of(container_id)
        busy = {d.pci for d in pod.devices if self.is_busy(d, pod)}
        self.give_up(container_id)
        parts = [[vif] for vif in pod.vifs] if one_by_one else [pod.vifs]
        attached = []
        for vifs in parts:
            outcome = self.act(
                trouble,
                self.node.attach,
                pod.sandbox,
                vifs,
                unless=exceptions.DeviceBusy if busy else (),
            )
            if not isinstance(outcome, tuple):
                break
            attached += outcome
        else:
            assert not busy & {each.location.pci_slot for each in attached}
            self.broken.discard(container_id)
            self.has_attached(pod, attached)
            return
        if not fresh or one_by_one:
            return
        records = self.node.ledger.of(container_id)
        if outcome is not cluster.DIED:
            assert records == ()
        elif not all(record.done for record in records):
            self.broken.add(container_id)

    def is_busy(self, device, pod):
        """Whether another pod's sandbox has the VF, and may run."""
        holder = self.node.ledger.holder(device.pci)
        return (
            holder is not None
            and holder.done
            and holder.sandbox.pod.uid != pod.uid
            and self.alive(holder.sandbox)
        )

    def has_attached(self, pod, attached):
        assert [each.vif for each in attached] == list(pod.vifs)
        for each in attached:
            pci = each.location.pci_slot
            assert pci in {device.pci for device in pod.devices}
            assert pci not in self.attached
            key = pod.sandbox.container_id, each.vif.ifname
            self.attached[pci] = key
            self.meddled.discard(pci)

    @precondition(lambda self: self.pods)
    @rule(
        which=WHICH,
        trouble=TROUBLE,
        netns_first=st.booleans(),
        lost=st.booleans(),
        seen=st.booleans(),
    )
    def delete(self, which, trouble, netns_first, lost, seen):
        """The pod goes; DEL may come late, fail or never come."""
        pod = self.pick(which)
        sandbox = pod.sandbox
        if sandbox and netns_first and self.alive(sandbox):
            self.world.node.delete_netns(sandbox.netns)
        if sandbox and not lost:
            self.delete_sandbox(sandbox, trouble)
        self.go(pod, netns_leaks=lost and not netns_first)
        if seen:
            self.controller.release(pod_of(pod.body))
            self.orphans.remove(pod.uid)

    def go(self, pod, netns_leaks):
        self.end(pod, netns_leaks)
        self.pods.remove(pod)
        self.orphans.add(pod.uid)

    def delete_sandbox(self, sandbox, trouble):
        outcome = self.act(trouble, self.node.detach, sandbox.container_id)
        if outcome is None:
            assert self.node.ledger.of(sandbox.container_id) == ()
            self.give_up(sandbox.container_id)

    @precondition(lambda self: self.ended)
    @rule(which=WHICH, trouble=TROUBLE)
    def late_del(self, which, trouble):
        """Of a sandbox that is no more."""
        sandbox = self.ended.pop(which % len(self.ended))
        self.delete_sandbox(sandbox, trouble)

    @precondition(lambda self: self.pods)
    @rule(which=WHICH, leaks=st.booleans())
    def restart_sandbox(self, which, leaks):
        self.end(self.pick(which), leaks)

    @precondition(lambda self: self.node.ledger.all())
    @rule(trouble=TROUBLE)
    def reconcile(self, trouble):
        outcome = self.act(trouble, self.node.reconcile)
        if isinstance(outcome, Reconciled) and not outcome.failed:
            for record in self.node.ledger.all():
                assert record.done
                assert record.sandbox.container_id not in self.broken
                assert self.alive(record.sandbox)
                assert record.boot_id == self.world.node.host.boot_id()

    @precondition(lambda self: self.node.ledger.all())
    @rule(trouble=TROUBLE)
    def collect_garbage(self, trouble):
        valid = {container_id for container_id, _ in self.attached.values()}
        outcome = self.act(trouble, self.node.collect_garbage, valid)
        if isinstance(outcome, Reconciled) and not outcome.failed:
            left = {r.sandbox.container_id for r in self.node.ledger.all()}
            assert left == valid

    @precondition(lambda self: self.orphans)
    @rule()
    def collect_orphans(self):
        alive = {pod.uid for pod in self.pods}
        self.controller.collect_orphans(lambda pod: pod.uid in alive)
        self.orphans.clear()

    @precondition(lambda self: self.attached)
    @rule()
    def reboot(self):
        for pod in self.pods:
            self.end(pod, netns_leaks=True)
        self.world.node.reboot()
        self.first = self.world.node.state()
        self.node.close()
        self.start()

    @precondition(lambda self: self.attached)
    @rule(pf=st.sampled_from(['0000:02:00.0', '0000:02:00.1']))
    def create_vfs_anew(self, pf):
        """``sriov_numvfs`` goes to 0 and back; udev renames the VFs."""
        world = self.world
        names = {pci: self.first[pci].link.name for pci in world.node.vfs(pf)}
        world.node.recreate_vfs(pf)
        for pci, name in names.items():
            world.node.rename(pci, name)
            key = self.attached.get(pci)
            if key:
                self.give_up(key[0])
            holder = self.node.ledger.holder(pci)
            if not holder or holder.boot_id != world.node.host.boot_id():
                self.first[pci] = world.node.state()[pci]

    @precondition(lambda self: self.attached)
    @rule(which=WHICH, how=st.sampled_from(['rename', 'unbind', 'set']))
    def meddle(self, which, how):
        """Somebody changes a VF in use."""
        pci = sorted(self.attached)[which % len(self.attached)]
        link = self.world.node.state()[pci].link
        if how == 'unbind':
            self.world.node.host.pci.bind(pci, '', 5)
        elif not link:
            return
        elif how == 'rename':
            self.world.node.rename(pci, f'lan{link.name}')
        else:
            netns = self.world.node.state()[pci].netns
            links = self.world.node.host.links
            index = links.find(pci, netns).index
            # What a pod has loaded may forbid the MTU.
            with contextlib.suppress(exceptions.KernelError):
                links.set(index, netns, up=False)
                links.set(index, netns, mtu=1300, alias='mine', up=True)
        self.meddled.add(pci)

    def everything_goes(self):
        """In the end all is as it was in the beginning."""
        for pod in list(self.pods):
            if pod.sandbox:
                self.node.detach(pod.sandbox.container_id)
            self.end(pod)
            self.controller.release(pod_of(pod.body))
            self.pods.remove(pod)
        self.collect_orphans()
        self.node.collect_garbage(())
        assert self.world.node.state() == self.first
        assert self.node.ledger.all() == ()
        assert list(self.controller.vifs.list_vifs()) == []
        self.every_address_can_be_had_again()

    def every_address_can_be_had_again(self):
        networks = [0] * cluster.POOL + [1] * cluster.POOL
        pod = cluster.Scheduled(0, cluster.body(0, networks), [])
        self.pods.append(pod)
        self.controller.request(pod.body)
        assert len({vif.addresses for vif in pod.vifs}) == len(networks)
        self.controller.release(pod_of(pod.body))
        self.pods.remove(pod)

    # What must hold at any time.

    @invariant()
    def a_changed_function_is_on_record(self):
        recorded = {record.pci for record in self.node.ledger.all()}
        for pci, state in self.world.node.state().items():
            assert state == self.first[pci] or pci in recorded, pci

    @invariant()
    def what_is_attached_stays_attached(self):
        for pci, key in self.attached.items():
            record = self.node.ledger.holder(pci)
            assert record.key == key
            assert record.done
            self.check(pci, key)

    def check(self, pci, key):
        if pci in self.meddled:
            with pytest.raises(exceptions.Drifted):
                self.node.check(*key)
        else:
            self.node.check(*key)

    @invariant()
    def each_address_has_one_pod(self):
        owned = list(self.controller.vifs.list_vifs())
        uids = {pod.uid for pod in self.pods}
        assert uids <= {vif.pod.uid for vif in owned} <= uids | self.orphans
        for pod in self.pods:
            ours = {each.vif.id for each in owned if each.pod.uid == pod.uid}
            assert ours == {vif.id for vif in pod.vifs}
        addresses = [a for each in owned for a in each.vif.addresses]
        assert len(set(addresses)) == len(addresses) == len(owned)


@pytest.mark.parametrize('nic', ['igb', 'i40e'])
def test_nothing_is_lost_shared_or_left_changed(world, nic):
    def machine():
        return Machine(type(world), nic)

    run_state_machine_as_test(machine, settings=SETTINGS)
