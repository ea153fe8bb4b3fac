# SPDX-License-Identifier: Apache-2.0
"""The node's last steps, under the locks of the PFs: VFs into a sandbox.

Each takes an ``AttachRequest`` whose pairs are decided, and returns it with
more filled in.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base
from kuryr_sriov.handlers import protocols
from kuryr_sriov.handlers.choose_vfs import OPERATION, AttachRequest
from kuryr_sriov.handlers.events import Observer, telling
from kuryr_sriov.handlers.pipeline import NothingToUndo, Pipeline
from kuryr_sriov.handlers.restore import Restorer, lock_of
from kuryr_sriov.handlers.sandboxes import Sandboxes
from kuryr_sriov.handlers.wiring import Wiring


class Configure(NothingToUndo[AttachRequest]):
    """Run a pipeline while no one else configures the same PFs.

    It is the last step: when it fails, its pipeline has undone itself, and
    under the same locks.
    """

    name = 'configure'

    def __init__(
        self,
        inner: Pipeline[AttachRequest],
        locks: protocols.Locks,
        pci: base.Pci,
        ledger: protocols.Ledger,
        observe: Observer,
    ) -> None:
        self._inner = inner
        self._locks = locks
        self._pci = pci
        self._ledger = ledger
        self._observe = observe

    def run(self, value: AttachRequest) -> AttachRequest:
        """Run it under the locks of all PFs that it may touch."""
        # In a guest the PF is out of reach, and the VF itself is locked.
        pfs = {pci: self._pci.identify(pci).pf for _, pci in value.pairs}
        value = dataclasses.replace(value, pfs=pfs)
        own = {pf or pci for pci, pf in pfs.items()}
        # An interface may get a VF of another PF than before, and the one it
        # had is restored under these locks, too.
        records = self._ledger.of(value.sandbox.container_id)
        locks = self._locks(own | {lock_of(record) for record in records})
        with contextlib.ExitStack() as held:
            event = value.event.become('started', step='lock')
            with telling(self._observe, event):
                held.enter_context(locks)
            return self._inner.run(value)


class Reclaim(NothingToUndo[AttachRequest]):
    """Restore what earlier sandboxes left on these VFs and interfaces."""

    name = 'reclaim'

    def __init__(
        self,
        ledger: protocols.Ledger,
        restorer: Restorer,
        sandboxes: Sandboxes,
    ) -> None:
        self._ledger = ledger
        self._restorer = restorer
        self._sandboxes = sandboxes

    def run(self, value: AttachRequest) -> AttachRequest:
        """Fill in ``owing``; refuse VFs that are still in use.

        :raises DeviceBusy: another running sandbox has one of the VFs.
        :raises LedgerError: nobody can read who has one of the VFs.
        """
        owing = {}
        for vif, pci in value.pairs:
            self._check_readable(pci, value.sandbox.pod)
            earlier = self._ledger.of(value.sandbox.container_id, vif.ifname)
            holder = self._ledger.holder(pci)
            if holder is not None and holder not in earlier:
                self._check_left(holder, value.sandbox)
                earlier = (*earlier, holder)
            for record in earlier:
                if self._still_owes(record):
                    owing[record.pci] = record
        return dataclasses.replace(value, owing=owing)

    def _still_owes(self, record: model.Attachment) -> bool:
        """Restore it; return whether it is usable but still owes something.

        :raises Owed: it is not even usable.
        """
        try:
            self._restorer.restore(record, OPERATION)
        except exceptions.Owed as error:
            if not error.usable:
                raise
            return True
        return False

    def _check_readable(self, pci: str, pod: model.Pod) -> None:
        for record in self._ledger.set_aside(pci):
            raise exceptions.LedgerError(
                f'VF {pci}, allocated to pod {pod}, is on a record that '
                f'cannot be read ({record.reason}): {record.ifname} of '
                f'sandbox {record.container_id} may have it; see '
                '"kuryr-sriov inventory", or reboot the node'
            )

    def _check_left(
        self, holder: model.Attachment, sandbox: model.Sandbox
    ) -> None:
        theirs = holder.sandbox
        same_sandbox = theirs.container_id == sandbox.container_id
        other_pod = theirs.pod.uid != sandbox.pod.uid
        # What is not done was left by a crash.
        in_use = holder.done and not holder.owed
        if same_sandbox or (
            in_use and other_pod and self._sandboxes.is_there(holder)
        ):
            raise exceptions.DeviceBusy(
                f'VF {holder.pci}, allocated to pod {sandbox.pod}, is still '
                f'{holder.vif.ifname} of pod {theirs.pod} in sandbox '
                f'{theirs.container_id}; it is free once that sandbox is '
                'gone (CNI DEL or GC)'
            )


class Record(NothingToUndo[AttachRequest]):
    """Put on record what is intended: the VFs' state before any change.

    A record goes when its VF is restored, and not before.
    """

    name = 'record'

    def __init__(
        self,
        ledger: protocols.Ledger,
        wiring: Wiring,
        driver_name: Callable[[str], str],
        boot_id: str,
    ) -> None:
        self._ledger = ledger
        self._wiring = wiring
        self._driver_name = driver_name
        self._boot_id = boot_id

    def run(self, value: AttachRequest) -> AttachRequest:
        """Fill in ``attachments``."""
        attachments = [self._make_record(value, *pair) for pair in value.pairs]
        self._ledger.save(
            attachments,
            intent=value.intent,
            instead_of=value.owing.values(),
        )
        return dataclasses.replace(value, attachments=attachments)

    def _make_record(
        self, value: AttachRequest, vif: model.Vif, pci: str
    ) -> model.Attachment:
        driver = self._driver_name(vif.resource)
        owing = value.owing.get(pci)
        return model.Attachment(
            sandbox=value.sandbox,
            vif=vif,
            pci=pci,
            driver=driver,
            pf=value.pfs[pci],
            original=owing.original
            if owing
            else self._wiring.snapshot(driver, pci),
            boot_id=self._boot_id,
            netns_id=value.netns_id,
        )


class Wire:
    """Wire each VF into the sandbox."""

    name = 'wire'

    def __init__(self, wiring: Wiring, restorer: Restorer) -> None:
        self._wiring = wiring
        self._restorer = restorer

    def run(self, value: AttachRequest) -> AttachRequest:
        """Change the VFs."""
        for attachment in value.attachments:
            self._wiring.connect(attachment, OPERATION)
        return value

    def undo(self, value: AttachRequest) -> None:
        """Restore all of them, from their records."""
        self._restorer.restore_all(
            value.attachments, OPERATION
        ).raise_first_failure()


class Report(NothingToUndo[AttachRequest]):
    """Say what the pod has, and where."""

    name = 'report'

    def __init__(
        self, describe: Callable[[model.Attachment], model.AttachedVif]
    ) -> None:
        self._describe = describe

    def run(self, value: AttachRequest) -> AttachRequest:
        """Fill in ``attached``."""
        attached = tuple(map(self._describe, value.attachments))
        return dataclasses.replace(value, attached=attached)


class Confirm(NothingToUndo[AttachRequest]):
    """Put on record that everything is in place."""

    name = 'confirm'

    def __init__(self, ledger: protocols.Ledger) -> None:
        self._ledger = ledger

    def run(self, value: AttachRequest) -> AttachRequest:
        """From here on the attachment outlives a crash."""
        done = [dataclasses.replace(a, done=True) for a in value.attachments]
        self._ledger.save(done)
        return dataclasses.replace(value, attachments=done)
