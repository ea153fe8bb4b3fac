# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to a node, no VF, address or record is lost or shared.

Hypothesis runs pods through a controller and a node in any order, with
crashes, errors, reboots and lost DELs in between, next to a model of who
has what.
"""

import dataclasses
import errno
import itertools
import json
import os
import pathlib
import tempfile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kuryr_sriov import config, exceptions, model
from kuryr_sriov.controller import Controller
from kuryr_sriov.testing.interrupt import Killed
from kuryr_sriov.testing.node import Pf

SETTINGS = settings(max_examples=40, stateful_step_count=40)

KURYR_CONF = """
[sriov_local]
subnets_file = {folder}/subnets.yaml
database = {folder}/local.sqlite
orphan_grace_period = 0
[sriov]
vif_driver = local
default_physnet_subnets = physnet22:{first},physnet23:{second}
physnet_resource_mappings = physnet22:physnet22,physnet23:physnet23
resource_driver_mappings = physnet22:vfio-pci,physnet23:netdevice
node_name = node1
"""
SUBNET_IDS = (
    '4c1b7b86-9d5e-4c39-8d0e-3a6a5d0b2f22',
    '9a0f6f0d-54b7-4a0e-b1d4-0f5b6c7e2f23',
)
SUBNETS = """
subnets:
- {{id: {0}, network: a, physnet: physnet22, cidr: 192.168.2.0/29, vlan: 11}}
- {{id: {1}, network: b, physnet: physnet23, cidr: 192.168.3.0/29, mtu: 1400}}
"""

# Thousands of small files: in memory, where the system has a place for it.
MEMORY = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None

WHICH = st.integers(0, 11)
KILL, FAIL = 'kill', 'fail'
TROUBLE = st.one_of(
    st.none(),
    st.tuples(st.just(KILL), st.integers(0, 25)),
    st.tuples(st.just(FAIL), st.integers(0, 9)),
)
DIED = object()
EXPECTED = exceptions.DeviceBusy, exceptions.ProviderExhausted
VFS = 2
POOL = 6  # addresses of a /29


class Trouble:
    """Kills, or fails a change, at the point after so many others."""

    def __init__(self):
        self.kind, self.left = None, 0

    def step(self, name):
        if self.kind == KILL:
            self._count(Killed(name))

    def change(self, name):
        if self.kind == FAIL:
            self._count(exceptions.KernelError(name, errno.EIO))
        self.step(name)

    def _count(self, error):
        if self.left == 0:
            if self.kind == FAIL:  # once; the dead stay dead
                self.kind = None
            raise error
        self.left -= 1


@dataclasses.dataclass(eq=False)
class Scheduled:
    """A pod that the kubelet has, with what it allocated to it.

    :param sandbox: None until there is one, and after it has gone.
    """

    number: int
    body: dict
    devices: list
    vifs: tuple = ()
    generation: int = 0
    sandbox: model.Sandbox | None = None

    @property
    def uid(self):
        return self.body['metadata']['uid']


class Machine(RuleBasedStateMachine):
    """The rules; what must hold is in the invariants.

    :ivar first: the state of each function when nobody uses it.
    :ivar attached: the key of what is attached, by the VF's PCI address.
    :ivar meddled: VFs that are not as they were attached.
    :ivar orphans: uids of pods that the controller has not seen go.
    :ivar broken: container ids whose only ADD was killed.
    :ivar ended: sandboxes for which a late DEL may come.
    """

    def __init__(self, make_world, nic):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.world = world = make_world(pathlib.Path(self.folder.name))
        world.text = KURYR_CONF.format(
            folder=world.path, first=SUBNET_IDS[0], second=SUBNET_IDS[1]
        )
        (world.path / 'subnets.yaml').write_text(SUBNETS.format(*SUBNET_IDS))
        world.node.add_interface('net1')  # in the way of VFs coming home
        if nic == 'igb':
            self.pin_a_mac()
        self.trouble = Trouble()
        world.node.on_change(self.trouble.change)
        self.first = world.node.state()
        self.numbers = itertools.count(1)
        self.pods = []
        self.orphans = set()
        self.attached = {}
        self.meddled = set()
        self.broken = set()
        self.ended = []
        self.start()
        file = str(world.path / 'kuryr.conf')
        self.controller = Controller(
            config.load(files=[file]),
            self.nad,
            self.publish,
            observe=self.trouble.step,
        )

    def pin_a_mac(self):
        """As if an operator had: the VF has got another."""
        host = self.world.node.host
        index = host.pci.device('0000:02:00.1').ifindex
        mac = model.VfSettings(mac='02:00:00:00:99:01')
        host.links.set_vf(index, VFS - 1, mac)

    def teardown(self):
        self.everything_goes()
        self.node.close()
        self.folder.cleanup()

    # What is around the library.

    def start(self):
        self.node = self.world.start(observe=self.trouble.step)

    def nad(self, namespace, name):
        """Of a network that is called as its subnet."""
        wanted = {'driverType': 'sriov', 'subnetId': name}
        annotations = {'openstack.org/kuryr-config': json.dumps(wanted)}
        return {'metadata': {'annotations': annotations}}

    def publish(self, pod, vifs):
        (scheduled,) = (p for p in self.pods if p.uid == pod.uid)
        scheduled.vifs = tuple(vifs)

    def pick(self, which):
        return self.pods[which % len(self.pods)]

    def act(self, trouble, function, *arguments):
        """What it returned, DIED, or the error it had to raise."""
        if trouble:
            self.trouble.kind, self.trouble.left = trouble
        try:
            return function(*arguments)
        except Killed:
            self.trouble.kind = None
            self.node.close()
            self.start()
            return DIED
        except exceptions.KuryrSriovError as error:
            if not trouble and not isinstance(error, EXPECTED):
                raise
            return error
        finally:
            self.trouble.kind = None

    def alive(self, sandbox):
        return self.world.node.host.links.alive(sandbox.netns)

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
        for pfs in ((0, 1), (1,)):
            self.schedule(pfs, None, runs=True)

    @rule(
        pfs=st.sampled_from([(0,), (1,), (0, 1), (1, 1)]),
        trouble=TROUBLE,
        runs=st.booleans(),
    )
    def schedule(self, pfs, trouble, runs):
        """A pod gets VFs by the kubelet and VIFs by the controller."""
        used = {device for pod in self.pods for device in pod.devices}
        devices = []
        for pf in pfs:
            vfs = (self.world.vf(pf, index) for index in range(VFS))
            free = [vf for vf in vfs if vf not in (*used, *devices)]
            if not free:
                return
            devices.append(free[-1])
        number = next(self.numbers)
        pod = Scheduled(number, body(number, pfs), devices)
        self.pods.append(pod)
        first = self.act(trouble, self.controller.request, pod.body)
        again = self.act(None, self.controller.request, pod.body)
        assert first in (DIED, again) or type(first) is type(again)
        if isinstance(again, exceptions.ProviderExhausted):
            assert self.orphans
            self.pods.remove(pod)
            return
        assert pod.vifs == again
        if runs:
            self.add_to(pod, None)

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

    def add_to(self, pod, trouble, one_by_one=False):
        if pod.sandbox and not self.alive(pod.sandbox):
            self.end(pod)
        if not pod.sandbox:
            pod.generation += 1
            pod.sandbox = self.world.sandbox(
                pod.number, *pod.devices, generation=pod.generation
            )
        container_id = pod.sandbox.container_id
        fresh = not self.node.ledger.of(container_id)
        busy = any(map(self.is_busy, pod.devices))
        self.give_up(container_id)
        parts = [[vif] for vif in pod.vifs] if one_by_one else [pod.vifs]
        attached = []
        for vifs in parts:
            outcome = self.act(trouble, self.node.attach, pod.sandbox, vifs)
            if not isinstance(outcome, tuple):
                break
            attached += outcome
        else:
            assert not busy
            self.broken.discard(container_id)
            self.has_attached(pod, attached)
            return
        if not fresh or one_by_one:
            return
        if outcome is DIED:
            self.broken.add(container_id)
        else:
            assert self.node.ledger.of(container_id) == ()

    def is_busy(self, device):
        """Whether another pod's sandbox has the VF, and may run."""
        holder = self.node.ledger.holder(device.pci)
        return (
            holder is not None
            and holder.done
            and self.alive(holder.sandbox)
            and all(
                device not in pod.devices
                for pod in self.pods
                if pod.uid == holder.sandbox.pod.uid
            )
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
        self.end(pod, netns_leaks=lost and not netns_first)
        self.pods.remove(pod)
        self.orphans.add(pod.uid)
        if seen:
            self.controller.release(pod.body)
            self.orphans.remove(pod.uid)

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
        if isinstance(self.act(trouble, self.node.reconcile), list):
            for record in self.node.ledger.all():
                assert record.done
                assert record.sandbox.container_id not in self.broken
                assert self.alive(record.sandbox)
                assert record.boot_id == self.world.node.host.boot_id()

    @precondition(lambda self: self.node.ledger.all())
    @rule(trouble=TROUBLE)
    def collect_garbage(self, trouble):
        valid = set(self.attached.values())
        outcome = self.act(trouble, self.node.collect_garbage, valid)
        if isinstance(outcome, list):
            assert {r.key for r in self.node.ledger.all()} == valid

    @precondition(lambda self: self.orphans)
    @rule()
    def collect_orphans(self):
        self.controller.collect_orphans({pod.uid for pod in self.pods})
        self.orphans.clear()

    @precondition(lambda self: self.node.ledger.all())
    @rule()
    def reboot(self):
        for pod in self.pods:
            self.end(pod, netns_leaks=True)
        self.world.node.reboot()
        self.first = self.world.node.state()
        self.node.close()
        self.start()

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
            links.set(index, netns, up=False)
            links.set(index, netns, mtu=1300, alias='mine', up=True)
        self.meddled.add(pci)

    def everything_goes(self):
        """In the end all is as it was in the beginning."""
        for pod in list(self.pods):
            if pod.sandbox:
                self.node.detach(pod.sandbox.container_id)
            self.end(pod)
            self.controller.release(pod.body)
            self.pods.remove(pod)
        self.collect_orphans()
        self.node.collect_garbage(())
        assert self.world.node.state() == self.first
        assert self.node.ledger.all() == ()
        assert list(self.controller.vifs.list_vifs()) == []
        self.every_address_can_be_had_again()

    def every_address_can_be_had_again(self):
        pod = Scheduled(0, body(0, [0] * POOL + [1] * POOL), [])
        self.pods.append(pod)
        self.controller.request(pod.body)
        assert len({vif.addresses for vif in pod.vifs}) == 2 * POOL
        self.controller.release(pod.body)
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
            if pci in self.meddled:
                with pytest.raises(exceptions.Drifted):
                    self.node.check(*key)
            else:
                self.node.check(*key)

    @invariant()
    def each_address_has_one_pod(self):
        owned = list(self.controller.vifs.list_vifs())
        uids = {pod.uid for pod in self.pods}
        assert uids <= {vif.pod_uid for vif in owned} <= uids | self.orphans
        for pod in self.pods:
            ours = {each.vif.id for each in owned if each.pod_uid == pod.uid}
            assert ours == {vif.id for vif in pod.vifs}
        addresses = [a for each in owned for a in each.vif.addresses]
        assert len(set(addresses)) == len(addresses) == len(owned)


def body(number, pfs):
    """A pod as the Kubernetes API has it, with a network per VF."""
    networks = ', '.join(
        f'{SUBNET_IDS[pf]}@net{place}' for place, pf in enumerate(pfs, 1)
    )
    requests = {
        f'intel.com/physnet{22 + pf}': str(pfs.count(pf)) for pf in pfs
    }
    return {
        'metadata': {
            'namespace': 'default',
            'name': f'pod{number}',
            'uid': f'uid-{number}',
            'annotations': {'k8s.v1.cni.cncf.io/networks': networks},
        },
        'spec': {
            'nodeName': 'node1',
            'containers': [{'resources': {'requests': requests}}],
        },
    }


@pytest.mark.parametrize('nic', ['igb', 'i40e'])
def test_nothing_is_lost_shared_or_left_changed(world, nic):
    pfs = [
        Pf('0000:02:00.0', 'ens6', vfs=VFS, driver=nic),
        Pf('0000:02:00.1', 'ens8', vfs=VFS, driver=nic),
    ]

    def machine():
        return Machine(lambda folder: type(world)(folder, pfs), nic)

    run_state_machine_as_test(machine, settings=SETTINGS)
