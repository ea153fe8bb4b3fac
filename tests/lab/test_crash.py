# SPDX-License-Identifier: Apache-2.0
"""The process is killed, with SIGKILL, at every point at which it can be.

That is before each step of a pipeline, each write to sysfs and each change
by netlink. The next start, or the DEL that the runtime repeats, puts every VF
back exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from labcrash import (
    STEPS,
    Doomed,
    Pod,
    die_everywhere_in_attach,
    die_everywhere_in_detach,
)
from labnode import Lab, Netns, VirtualFunction
from labpods import KERNEL, USERSPACE

MakeVfs = Callable[..., list[VirtualFunction]]
MakeNetns = Callable[[], Netns]


@pytest.fixture
def pod(lab: Lab, make_vfs: MakeVfs, make_netns: MakeNetns) -> Pod:
    """One VF for the kernel's driver, and one for a program's."""
    return Pod(make_netns(), make_vfs(lab.pfs[0], 2), (KERNEL, USERSPACE))


@pytest.fixture
def pinned(lab: Lab, make_vfs: MakeVfs, make_netns: MakeNetns) -> Pod:
    """A VF whose driver must be bound anew to take another MAC."""
    (vf,) = make_vfs(lab.pfs[0], 1)
    vf.configure('mac', '02:00:00:00:00:99')
    vf.configure('vlan', '7', 'qos', '3')
    return Pod(make_netns(), [vf], (KERNEL,))


def test_killed_in_attach(doomed: Doomed, pod: Pod) -> None:
    die_everywhere_in_attach(doomed, pod)
    assert doomed.seen >= {
        *(*STEPS[:-1], 'set_vf', 'set', 'add_address'),
        *('driver_override', 'unbind', 'bind'),
    }


def test_killed_in_attach_of_a_vf_with_a_pinned_mac(
    doomed: Doomed, pinned: Pod
) -> None:
    die_everywhere_in_attach(doomed, pinned)
    assert doomed.seen >= {*STEPS[:-1], 'set_vf', 'set', 'unbind', 'bind'}


def test_killed_in_detach(doomed: Doomed, pod: Pod) -> None:
    """The runtime repeats DEL."""
    die_everywhere_in_detach(doomed, pod)
    assert doomed.seen >= {
        *('restore', 'set_vf', 'set', 'unbind', 'bind', 'forget'),
    }
