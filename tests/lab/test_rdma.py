# SPDX-License-Identifier: Apache-2.0
"""The RDMA device of a VF goes where its interface goes, and comes home.

The device is soft-RoCE, changed so that it is a part of its VF; see
``tools/lab/kernelmodules.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from labcrash import (
    STEPS,
    Doomed,
    Pod,
    die_everywhere_in_attach,
    die_everywhere_in_detach,
)
from labnode import Lab, Netns, VirtualFunction, run, wait_for
from labpods import KERNEL, GivenPod, give, make_vif

from kuryr_sriov import exceptions
from kuryr_sriov.node import Node

pytestmark = pytest.mark.topology('rdma')

MakeVfs = Callable[..., list[VirtualFunction]]
MakeNetns = Callable[[], Netns]
NAME = 'rxe0'
# The tool looks in /run/netns, whatever it is given.
INIT = '../../proc/1/ns/net'


def set_mode(mode: str) -> None:
    """``rdma system set netns``, once no other namespace is left."""

    def is_set() -> bool:
        try:
            run('rdma', 'system', 'set', 'netns', mode)
        except RuntimeError as error:
            if 'busy' not in str(error):
                raise
            return False
        return True

    wait_for(f'RDMA mode {mode}', is_set)


@pytest.fixture
def mode() -> str:
    """Of the node; a test may override it."""
    return 'exclusive'


@pytest.fixture
def vf(lab: Lab, make_vfs: MakeVfs, mode: str) -> Iterator[VirtualFunction]:
    """A VF with an RDMA device."""
    set_mode(mode)
    (vf,) = make_vfs(lab.pfs[0], 1)
    run('rdma', 'link', 'add', NAME, 'type', 'rxe', 'netdev', vf.ifname)
    assert vf.rdma_devices() == [NAME]
    yield vf
    for name in vf.rdma_devices():
        run('rdma', 'link', 'delete', name)


def names_in(pod: Netns) -> list[str]:
    """The RDMA devices that a pod sees."""
    lines = pod.run('rdma', 'dev', 'show').splitlines()
    return [line.split()[1].rstrip(':') for line in lines]


@pytest.fixture
def given(node: Node, vf: VirtualFunction, make_netns: MakeNetns) -> GivenPod:
    return give(node, vf, make_vif(1), make_netns())


def test_it_is_in_the_pod_and_nowhere_else(given: GivenPod) -> None:
    assert names_in(given.netns) == [NAME]
    assert given.vf.rdma_devices() == []
    assert given.attached.device_info.rdma_device == NAME
    verbs, manager = map(Path, given.attached.device_info.device_nodes)
    assert verbs.is_char_device()
    assert manager == Path('/dev/infiniband/rdma_cm')
    assert manager.is_char_device()
    given.node.check(given.netns.name)
    assert given.comes_home()
    assert names_in(given.netns) == []


def test_it_comes_home_when_the_netns_is_gone(given: GivenPod) -> None:
    vf = given.vf
    given.netns.delete()
    # An unbound driver would take soft-RoCE with it, which no driver makes.
    wait_for('the kernel', lambda: vf.netdev and vf.rdma_devices())
    assert given.comes_home()


def test_it_comes_home_under_its_own_name(given: GivenPod) -> None:
    given.netns.run('rdma', 'dev', 'set', NAME, 'name', 'mine')
    assert given.comes_home()


def test_check_sees_that_it_is_not_in_the_pod(given: GivenPod) -> None:
    given.netns.run('rdma', 'dev', 'set', NAME, 'netns', INIT)
    with pytest.raises(exceptions.Drifted, match=f'RDMA device {NAME} is not'):
        given.node.check(given.netns.name)
    assert given.comes_home()


@pytest.mark.parametrize('mode', ['shared'])
def test_where_all_namespaces_share_it_it_is_told(given: GivenPod) -> None:
    assert names_in(given.netns) == [NAME] == given.vf.rdma_devices()
    assert given.attached.device_info.rdma_device == NAME
    assert len(given.attached.device_info.device_nodes) == 2
    given.node.check(given.netns.name)
    assert given.comes_home()


@pytest.fixture
def pod(vf: VirtualFunction, make_netns: MakeNetns) -> Pod:
    return Pod(make_netns(), [vf], (KERNEL,))


def test_killed_in_attach(doomed: Doomed, pod: Pod) -> None:
    die_everywhere_in_attach(doomed, pod)
    assert doomed.seen >= {*STEPS[:-1], 'set', 'move_rdma'}


def test_killed_in_detach(doomed: Doomed, pod: Pod) -> None:
    die_everywhere_in_detach(doomed, pod)
    assert doomed.seen >= {'restore', 'set', 'move_rdma', 'forget'}
