# SPDX-License-Identifier: Apache-2.0
"""The node's first steps: from VIFs to the VFs that they get.

Each takes an ``AttachRequest`` and returns it with more filled in. Nothing
is changed yet; that is for the steps of ``configure_vfs``, under locks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kuryr_sriov import model, pairing
from kuryr_sriov.handlers import protocols, validate
from kuryr_sriov.handlers.events import Event
from kuryr_sriov.handlers.pipeline import NothingToUndo
from kuryr_sriov.handlers.sandboxes import Sandboxes

OPERATION = 'attach'


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """One ADD on its way through the steps.

    :param devices: the VFs the kubelet allocated; empty: to be asked for.
    :param netns_id: what tells the sandbox's namespace from any other.
    :param intent: the ledger's token, by which DEL can stop this attach.
    :param ports: of a VM: the port that a VF is, by PCI address.
    :param pairs: which VIF gets which device.
    :param pfs: the PF of each of those devices; of a VM's VFs empty.
    :param owing: records of VFs, by PCI address, that are usable but owe
        something to an earlier state; this attachment takes that over.
    :param attachments: what is, or is to be, in the ledger.
    """

    sandbox: model.Sandbox
    vifs: Sequence[model.Vif]
    devices: Sequence[model.Device] = ()
    netns_id: str = ''
    intent: str = ''
    ports: Mapping[str, model.GuestPort] = field(default_factory=dict)
    pairs: Sequence[tuple[model.Vif, str]] = ()
    pfs: Mapping[str, str] = field(default_factory=dict)
    owing: Mapping[str, model.Attachment] = field(default_factory=dict)
    attachments: Sequence[model.Attachment] = ()
    attached: Sequence[model.AttachedVif] = ()

    @property
    def event(self) -> Event:
        """The beginning of the attach."""
        return Event(
            OPERATION,
            'started',
            OPERATION,
            pod=self.sandbox.pod,
            container_id=self.sandbox.container_id,
        )


class Validate(NothingToUndo[AttachRequest]):
    """Refuse requests that cannot be met; identify the sandbox."""

    name = 'validate'

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes

    def run(self, value: AttachRequest) -> AttachRequest:
        """Fill in ``netns_id``."""
        validate.check_sandbox(value.sandbox)
        validate.check_vifs(value.vifs)
        netns_id = self._sandboxes.identify(value.sandbox)
        return dataclasses.replace(value, netns_id=netns_id)


class Intend:
    """Put on record that the attach has begun, before anything is waited for.

    A DEL that comes meanwhile finds no attachment yet; it cancels this.
    """

    name = 'intend'

    def __init__(self, ledger: protocols.Ledger) -> None:
        self._ledger = ledger

    def run(self, value: AttachRequest) -> AttachRequest:
        """Fill in ``intent``."""
        token = self._ledger.open_intent(
            value.sandbox.container_id, [vif.ifname for vif in value.vifs]
        )
        return dataclasses.replace(value, intent=token)

    def undo(self, value: AttachRequest) -> None:
        """Close it, if it is still open."""
        if value.intent:
            self._ledger.close_intent(value.intent)


class Allocate(NothingToUndo[AttachRequest]):
    """Ask the kubelet which VFs the pod has, unless the host said."""

    name = 'allocate'

    def __init__(self, allocations: protocols.Allocations) -> None:
        self._allocations = allocations

    def run(self, value: AttachRequest) -> AttachRequest:
        """Fill in ``devices``."""
        if value.devices:
            return value
        devices = self._allocations(value.sandbox.pod)
        return dataclasses.replace(value, devices=devices)


class Pair(NothingToUndo[AttachRequest]):
    """Decide which VIF gets which VF; what is on record stays so."""

    name = 'pair'

    def __init__(self, ledger: protocols.Ledger) -> None:
        self._ledger = ledger

    def run(self, value: AttachRequest) -> AttachRequest:
        """Fill in ``pairs``."""
        # A runtime may repeat an ADD: it gets the VFs that it had.
        ours = {vif.ifname for vif in value.vifs}
        records = self._ledger.of(value.sandbox.container_id)
        pairs = pairing.pair(
            value.vifs,
            value.devices,
            taken={r.vif.ifname: r.pci for r in records},
            busy={r.pci for r in records if r.vif.ifname not in ours},
            networks={pci: port.network for pci, port in value.ports.items()},
        )
        return dataclasses.replace(value, pairs=pairs)
