# SPDX-License-Identifier: Apache-2.0
"""Hundreds of pods at once, and not one VF gets stuck."""

import concurrent.futures
import queue

import pytest

from kuryr_sriov import model
from kuryr_sriov.testing.simulation.simulated_node import Pf

PODS = 200
THREADS = 16
AT_ONCE = 100
VFS = 64
PFS = tuple(Pf(f'0000:0{bus}:00.0', f'ens{bus}', vfs=VFS) for bus in range(4))
RESOURCES = ('intel.com/physnet22', 'intel.com/physnet23')


@pytest.fixture
def busy_world(world, tmp_path):
    busy_world = type(world)(tmp_path / 'busy', PFS, timeout=30)
    yield busy_world
    for node in busy_world.open_nodes:
        node.close()


def free_vfs(world):
    """Pairs of VFs of two PFs: one for vfio-pci, one for netdevice."""
    free = queue.Queue()
    for index in range(VFS):
        for vfio, netdevice in (PFS[:2], PFS[2:]):
            pcis = (world.node.vfs(pf.pci)[index] for pf in (vfio, netdevice))
            free.put(tuple(map(model.Device, RESOURCES, pcis)))
    return free


def test_200_pods_by_16_threads(busy_world):
    """Half of them run when the other half comes and goes."""
    world = busy_world
    before = world.node.state()
    node = world.start()
    free = free_vfs(world)
    running = queue.Queue()

    def attach(pod):
        devices = free.get(timeout=30)
        sandbox = world.sandbox(pod, *devices)
        attached = node.attach(sandbox, world.both())
        pcis = {each.location.pci_slot for each in attached}
        assert pcis == {device.pci for device in devices}
        running.put((sandbox, devices))

    def detach(gone):
        sandbox, devices = running.get(timeout=30)
        node.check(sandbox.container_id)
        if gone:
            world.node.delete_netns(sandbox.netns)
        node.detach(sandbox.container_id)
        free.put(devices)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(attach, pod) for pod in range(AT_ONCE)]
        for pod in range(AT_ONCE, PODS):
            jobs.append(pool.submit(detach, pod % 2))
            jobs.append(pool.submit(attach, pod))
        jobs += [pool.submit(detach, pod % 2) for pod in range(AT_ONCE)]
        for job in concurrent.futures.as_completed(jobs, timeout=120):
            job.result()
    assert world.node.state() == before
    assert node.ledger.all() == ()
    assert free.qsize() == 2 * VFS
