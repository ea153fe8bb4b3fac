# SPDX-License-Identifier: Apache-2.0
"""The node's steps: from VIFs to VFs wired into a sandbox.

Each takes an ``Attach`` and returns it with more filled in.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kuryr_sriov import exceptions, model, pairing
from kuryr_sriov.binding import base
from kuryr_sriov.handlers import protocols
from kuryr_sriov.handlers.pipeline import Pipeline, Pure
from kuryr_sriov.handlers.restore import Restorer, lock_of

LOG = logging.getLogger(__name__)

Binding = Callable[[str], base.BindingDriver]


@dataclass(frozen=True, slots=True)
class Attach:
    """One ADD on its way through the steps.

    :param devices: the VFs the kubelet allocated; empty: to be asked for.
    :param pairs: which VIF gets which device.
    :param attachments: what is, or is to be, in the ledger.
    """

    sandbox: model.Sandbox
    vifs: Sequence[model.Vif]
    devices: Sequence[model.Device] = ()
    pairs: Sequence[tuple[model.Vif, str]] = ()
    attachments: Sequence[model.Attachment] = ()
    attached: Sequence[model.Attached] = ()


class Allocate(Pure[Attach]):
    """Ask the kubelet which VFs the pod has, unless the host said."""

    name = 'allocate'

    def __init__(self, allocations: protocols.Allocations) -> None:
        self._allocations = allocations

    def run(self, value: Attach) -> Attach:
        """Fill in ``devices``."""
        if value.devices:
            return value
        devices = self._allocations(value.sandbox.pod)
        return dataclasses.replace(value, devices=devices)


class Pair(Pure[Attach]):
    """Decide which VIF gets which VF; what is on record stays so."""

    name = 'pair'

    def __init__(self, ledger: protocols.Ledger) -> None:
        self._ledger = ledger

    def run(self, value: Attach) -> Attach:
        """Fill in ``pairs``."""
        ours = {vif.ifname for vif in value.vifs}
        records = self._ledger.of(value.sandbox.container_id)
        pairs = pairing.pair(
            value.vifs,
            value.devices,
            taken={r.vif.ifname: r.pci for r in records},
            busy={r.pci for r in records if r.vif.ifname not in ours},
        )
        return dataclasses.replace(value, pairs=pairs)


class Locked:
    """Runs a pipeline while no one else configures the same PFs."""

    name = 'lock'

    def __init__(
        self,
        inner: Pipeline[Attach],
        locks: protocols.Locks,
        pci: base.Pci,
        ledger: protocols.Ledger,
    ) -> None:
        self._inner = inner
        self._locks = locks
        self._pci = pci
        self._ledger = ledger

    def run(self, value: Attach) -> Attach:
        """Run it under the locks of all PFs that it may touch."""
        pfs = {self._pci.device(pci).pf or pci for _, pci in value.pairs}
        records = self._ledger.of(value.sandbox.container_id)
        with self._locks(pfs | {lock_of(record) for record in records}):
            return self._inner.run(value)

    def undo(self, value: Attach) -> None:
        """Undo it, for a later step that failed."""
        if value.attachments:  # else it failed itself, and has undone itself
            with self._locks({lock_of(each) for each in value.attachments}):
                self._inner.undo(value)


class Settle:
    """Clear what earlier sandboxes left on these VFs and interfaces."""

    name = 'settle'

    def __init__(
        self, ledger: protocols.Ledger, restorer: Restorer, links: base.Links
    ) -> None:
        self._ledger = ledger
        self._restorer = restorer
        self._links = links

    def run(self, value: Attach) -> Attach:
        """Restore their VFs; refuse those still in use.

        :raises DeviceBusy: another running sandbox has one of the VFs.
        """
        container_id = value.sandbox.container_id
        for vif, pci in value.pairs:
            for record in self._ledger.of(container_id, vif.ifname):
                self._restorer.restore(record)
            holder = self._ledger.holder(pci)
            if holder is not None:
                self._check_left(holder, value.sandbox)
                self._restorer.restore(holder)
        return value

    def undo(self, value: Attach) -> None:
        """What was left behind does not come back."""

    def _check_left(
        self, holder: model.Attachment, sandbox: model.Sandbox
    ) -> None:
        theirs = holder.sandbox
        same_sandbox = theirs.container_id == sandbox.container_id
        other_pod = theirs.pod.uid != sandbox.pod.uid
        if same_sandbox or (
            holder.done and other_pod and self._links.alive(theirs.netns)
        ):
            raise exceptions.DeviceBusy(
                f'VF {holder.pci}, allocated to pod {sandbox.pod}, is still '
                f'{holder.vif.ifname} of pod {theirs.pod} in sandbox '
                f'{theirs.container_id}; it is free once that sandbox is '
                'gone (CNI DEL or GC)'
            )


class Kept:
    """Base of the steps that write records."""

    def undo(self, value: Attach) -> None:
        """A record goes when its VF is restored, and not before."""


class Record(Kept):
    """Put the intent on record: the VFs' state before the first change."""

    name = 'record'

    def __init__(
        self,
        ledger: protocols.Ledger,
        binding: Binding,
        driver_of: Callable[[str], str],
        pci: base.Pci,
        boot_id: str,
    ) -> None:
        self._ledger = ledger
        self._binding = binding
        self._driver_of = driver_of
        self._pci = pci
        self._boot_id = boot_id

    def run(self, value: Attach) -> Attach:
        """Fill in ``attachments``."""
        attachments = [
            self._intent(value.sandbox, vif, pci) for vif, pci in value.pairs
        ]
        self._ledger.save(attachments)
        return dataclasses.replace(value, attachments=attachments)

    def _intent(
        self, sandbox: model.Sandbox, vif: model.Vif, pci: str
    ) -> model.Attachment:
        driver = self._driver_of(vif.resource)
        return model.Attachment(
            sandbox=sandbox,
            vif=vif,
            pci=pci,
            driver=driver,
            pf=self._pci.device(pci).pf,
            original=self._binding(driver).snapshot(pci),
            boot_id=self._boot_id,
        )


class Connect:
    """Wire each VF into the sandbox."""

    name = 'connect'

    def __init__(self, binding: Binding, restorer: Restorer) -> None:
        self._binding = binding
        self._restorer = restorer

    def run(self, value: Attach) -> Attach:
        """Change the VFs."""
        for attachment in value.attachments:
            self._binding(attachment.driver).connect(attachment)
        return value

    def undo(self, value: Attach) -> None:
        """Restore all of them, from their records."""
        self._restorer.restore_all(value.attachments)


class Report(Pure[Attach]):
    """Say what the pod has got, and where."""

    name = 'report'

    def __init__(
        self, binding: Binding, pci: base.Pci, node_name: str
    ) -> None:
        self._binding = binding
        self._pci = pci
        self._node_name = node_name

    def run(self, value: Attach) -> Attach:
        """Fill in ``attached``."""
        attached = [self._report(a) for a in value.attachments]
        return dataclasses.replace(value, attached=attached)

    def _report(self, attachment: model.Attachment) -> model.Attached:
        device = self._pci.device(attachment.pci)
        driver = self._binding(attachment.driver)
        return model.Attached(
            vif=attachment.vif,
            location=model.Location(
                node=attachment.sandbox.pod.node or self._node_name,
                pci_slot=device.pci,
                pci_vendor_info=f'{device.vendor}:{device.device}',
                physical_network=attachment.vif.physnet,
            ),
            device_info=driver.device_info(attachment),
            driver=attachment.driver,
        )


class Confirm(Kept):
    """Put on record that everything is in place."""

    name = 'confirm'

    def __init__(self, ledger: protocols.Ledger) -> None:
        self._ledger = ledger

    def run(self, value: Attach) -> Attach:
        """From here on the attachment outlives a crash."""
        done = [dataclasses.replace(a, done=True) for a in value.attachments]
        self._ledger.save(done)
        return dataclasses.replace(value, attachments=done)


class Announce(Pure[Attach]):
    """Tell the neighbours; no lock is held, for it waits for carriers."""

    name = 'announce'

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    def run(self, value: Attach) -> Attach:
        """The pod runs all the same where they cannot be told."""
        for attachment in value.attachments:
            try:
                self._binding(attachment.driver).announce(attachment)
            except exceptions.KuryrSriovError as error:
                LOG.warning(
                    'the neighbours of %s of pod %s were not told: %s',
                    attachment.vif.ifname,
                    attachment.sandbox.pod,
                    error,
                )
        return value
