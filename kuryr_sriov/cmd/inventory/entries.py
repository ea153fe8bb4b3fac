# SPDX-License-Identifier: Apache-2.0
"""What an inventory finds: the values that are listed, or printed as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from kuryr_sriov import model


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has a VF, from the ledger.

    :param ifname: what the interface is called in the pod.
    :param done: False while it is attached, and after a crash meanwhile.
    :param alive: whether the pod's network namespace is still there.
    """

    namespace: str
    pod: str
    uid: str
    ifname: str
    container_id: str
    netns: str
    done: bool
    alive: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A network function that is no PF.

    :param away: its interface is in another network namespace.
    :param mac: its own, else what its PF holds for it; empty if unknown.
    :param settings: what its PF holds for it; None if unknown.
    """

    device: model.PciDevice
    away: bool = False
    mac: str = ''
    settings: model.VfSettings | None = None
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class Pf:
    """A network function that can have VFs.

    :param num_vfs: how many it has now.
    :param total_vfs: how many it can have.
    """

    device: model.PciDevice
    num_vfs: int
    total_vfs: int
    vfs: tuple[Function, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """What ``--json`` prints, with these fields as keys.

    :param others: functions without a PF on this node: plain NICs, and
        VFs that a hypervisor gave to it.
    :param unread: what could not be read, a sentence each.
    """

    pfs: tuple[Pf, ...]
    others: tuple[Function, ...]
    unread: tuple[str, ...]
