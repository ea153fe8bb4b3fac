# SPDX-License-Identifier: Apache-2.0
"""The one way back: whatever undoes an attachment goes through here."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from kuryr_sriov import exceptions, model
from kuryr_sriov.handlers import protocols
from kuryr_sriov.handlers.events import Observer, about_attachment, telling
from kuryr_sriov.handlers.sandboxes import Sandboxes
from kuryr_sriov.handlers.wiring import Wiring
from kuryr_sriov.host import wait

Condition = Callable[[model.Attachment], bool]


@dataclass(frozen=True, slots=True)
class NotRestored:
    """A VF that is still on record, and why.

    :param pci: PCI address of the VF.
    """

    container_id: str
    ifname: str
    pci: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What became of the attachments that nobody owns any more.

    :param restored: their VFs are as they were, their records are gone.
    :param failed: they stay on record; the next call tries them again.
    """

    restored: tuple[model.Attachment, ...] = ()
    failed: tuple[NotRestored, ...] = ()

    def raise_first_failure(self) -> None:
        """Raise the first error that a retry may mend, the rest as notes.

        What is owed stays on record, and no retry by a runtime mends it.
        """
        errors = [each.error for each in self.failed]
        errors = [e for e in errors if not isinstance(e, exceptions.Owed)]
        if not errors:
            return
        first, *others = errors
        for other in others:
            first.add_note(f'and: {other}')
        raise first


def spare_none(attachment: model.Attachment) -> bool:
    """The condition that no record meets."""
    return False


def hold_nothing(pcis: Iterable[str]) -> AbstractContextManager[None]:
    """For callers that hold the locks already."""
    return contextlib.nullcontext()


class Restorer:
    """Gives VFs back in the state that their records have.

    :param boot_id: of the running boot. VFs of an earlier one are no more.
    :param timeout: seconds for each VF, where the call has no deadline.
    """

    def __init__(
        self,
        ledger: protocols.Ledger,
        wiring: Wiring,
        sandboxes: Sandboxes,
        boot_id: str,
        timeout: float,
        observe: Observer,
    ) -> None:
        self._ledger = ledger
        self._wiring = wiring
        self._sandboxes = sandboxes
        self._boot_id = boot_id
        self._timeout = timeout
        self._observe = observe

    def restore(
        self,
        attachment: model.Attachment,
        operation: str,
        unless: Condition = spare_none,
    ) -> bool:
        """Restore one VF, then forget it. The caller holds its PF's lock.

        :param operation: what events call the call that it is part of.
        :return: whether it was still on record, and not spared by
            ``unless`` as the record is now.
        :raises Owed: not all of it can be restored; that is on record.
        """
        records = self._ledger.of(*attachment.key)
        now = next((r for r in records if r.pci == attachment.pci), None)
        if now is None or unless(now):
            return False
        begun = about_attachment(now, 'restore', operation)
        with telling(self._observe, begun):
            # The VFs of an earlier boot are gone, with all that was set on
            # them.
            if now.boot_id == self._boot_id:
                self._disconnect_or_owe(now, operation)
            forget = begun.become('started', step='forget')
            with telling(self._observe, forget):
                self._ledger.remove([now])
        return True

    def _disconnect_or_owe(
        self, attachment: model.Attachment, operation: str
    ) -> None:
        try:
            self._wiring.disconnect(
                self._sandboxes.without_replaced(attachment), operation
            )
        except exceptions.Owed as error:
            owing = dataclasses.replace(attachment, owed=str(error))
            # The record stays, so that the VF is given to nobody else.
            self._ledger.save([owing])
            raise

    def restore_all(
        self,
        attachments: Sequence[model.Attachment],
        operation: str,
        unless: Condition = spare_none,
        locks: protocols.Locks = hold_nothing,
    ) -> Reconciled:
        """Restore each; one that fails or hangs does not stop the others.

        Each has its share of the call's time. A PF whose lock is not to be
        had is waited for once.
        """
        restored: list[model.Attachment] = []
        failed: list[NotRestored] = []
        locked: dict[str, Exception] = {}
        for count, each in enumerate(attachments):
            others = len(attachments) - count
            # One that hangs uses up its own share, and leaves the others
            # theirs.
            share = wait.time_left(self._timeout * others) / others
            try:
                with wait.limit(share), contextlib.ExitStack() as held:
                    # Most are: they cost no lock, and no look at the record
                    # as it is under it.
                    if unless(each):
                        continue
                    _hold_lock(held, locks, lock_of(each), locked)
                    if self.restore(each, operation, unless):
                        restored.append(each)
            except Exception as error:
                failed.append(NotRestored(*each.key, each.pci, error))
        return Reconciled(tuple(restored), tuple(failed))


def lock_of(attachment: model.Attachment) -> str:
    """The lock that guards it: of its PF, or of the VF where there is none."""
    return attachment.pf or attachment.pci


def _hold_lock(
    held: contextlib.ExitStack,
    locks: protocols.Locks,
    pci: str,
    locked: dict[str, Exception],
) -> None:
    """Hold a lock, unless waiting for it has failed already."""
    if pci in locked:
        raise locked[pci]
    try:
        held.enter_context(locks([pci]))
    except exceptions.TransientError as error:
        locked[pci] = error
        raise
