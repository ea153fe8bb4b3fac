# SPDX-License-Identifier: Apache-2.0
"""The library on the lab's node, as a daemon starts it, and its pods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labnode import Device, Netns

from kuryr_sriov import model
from kuryr_sriov.config import loading
from kuryr_sriov.node import Node

# Each resource is called like the binding driver that it stands for.
CONF = """\
[sriov]
resource_driver_mappings = netdevice:netdevice,igbvf:igbvf,vfio-pci:vfio-pci
state_dir = {state}
node_name = lab
device_timeout = {timeout}
"""
DEVICE_TIMEOUT = 20.0
VLAN = 100
KERNEL, USERSPACE = 'netdevice', 'vfio-pci'


@dataclasses.dataclass(frozen=True)
class Conf:
    """What a binding driver reads of kuryr.conf."""

    device_timeout: float = DEVICE_TIMEOUT


def start(
    folder: Path, options: Mapping[str, str] | None = None, **arguments: Any
) -> Node:
    """The library with its state in *folder*; to be closed.

    :param options: more of ``[sriov]``.
    """
    file = folder / 'kuryr.conf'
    text = CONF.format(state=folder / 'state', timeout=DEVICE_TIMEOUT)
    for name, value in (options or {}).items():
        text += f'{name} = {value}\n'
    file.write_text(text, encoding='utf-8')
    return Node(loading.load_config(files=[str(file)]), **arguments)


def make_vif(number: int, driver: str = KERNEL, **more: Any) -> model.Vif:
    """VIF number *number*, by which MAC and addresses go; on one VLAN."""
    vif = model.Vif(
        id=f'port-{number}',
        ifname='net1',
        network='default/lab',
        resource=f'intel.com/{driver}',
        physnet=driver,
        mac=f'fa:16:3e:00:00:{number:02x}',
        addresses=(f'192.0.2.{number}/24', f'2001:db8::{number}/64'),
        vlan=VLAN,
    )
    return dataclasses.replace(vif, **more)


def sandbox(netns: Netns) -> model.Sandbox:
    """The sandbox of the pod that has the network namespace."""
    pod = model.Pod('default', netns.name, f'uid-{netns.name}')
    return model.Sandbox(netns.name, netns.path, pod)


def attach(
    node: Node, vf: Device, vif: model.Vif, netns: Netns
) -> model.AttachedVif:
    """Wire one VF into a pod, as CNI ADD does."""
    devices = [model.Device(vif.resource, vf.pci)]
    (attached,) = node.attach(sandbox(netns), [vif], devices)
    return attached


@dataclasses.dataclass(frozen=True)
class GivenPod:
    """A pod that has a VF, and the VF's state before."""

    node: Node
    vf: Any
    netns: Netns
    before: dict[str, Any]
    attached: model.AttachedVif

    def comes_home(self) -> bool:
        """Whether DEL restores it all; a second one is harmless."""
        self.node.detach(self.netns.name)
        self.node.detach(self.netns.name)
        assert self.node.ledger.all() == ()
        now = self.vf.state()
        assert now == self.before
        return True


def give(node: Node, vf: Device, vif: model.Vif, netns: Netns) -> GivenPod:
    """Wire one VF into a pod that may have to give it back."""
    before = vf.state()
    return GivenPod(node, vf, netns, before, attach(node, vf, vif, netns))
