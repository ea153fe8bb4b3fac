# SPDX-License-Identifier: Apache-2.0
"""The one way back: whatever undoes an attachment goes through here."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base
from kuryr_sriov.handlers import protocols
from kuryr_sriov.handlers.pipeline import Observer

LOG = logging.getLogger(__name__)

Condition = Callable[[model.Attachment], bool]


def never(attachment: model.Attachment) -> bool:
    """No record is spared."""
    return False


def unlocked(pcis: Iterable[str]) -> AbstractContextManager[None]:
    """For callers that hold the locks already."""
    return contextlib.nullcontext()


class Restorer:
    """Gives VFs back as their records found them.

    :param binding: the binding driver of an entry-point name.
    :param boot_id: of the running boot. VFs of an earlier one are no more.
    """

    def __init__(
        self,
        ledger: protocols.Ledger,
        binding: Callable[[str], base.BindingDriver],
        boot_id: str,
        observe: Observer,
    ) -> None:
        self._ledger = ledger
        self._binding = binding
        self._boot_id = boot_id
        self._observe = observe

    def restore(
        self, attachment: model.Attachment, unless: Condition = never
    ) -> bool:
        """Restore one VF, then forget it. The caller holds its PF's lock.

        :return: whether it was still on record, and not spared by
            ``unless`` as the record is now.
        """
        records = self._ledger.of(*attachment.key)
        now = next((r for r in records if r.pci == attachment.pci), None)
        if now is None or unless(now):
            return False
        self._observe('restore')
        if now.boot_id == self._boot_id:
            self._binding(now.driver).disconnect(now)
        self._observe('forget')
        self._ledger.remove([now])
        LOG.info(
            'gave back VF %s, %s of pod %s',
            now.pci,
            now.vif.ifname,
            now.sandbox.pod,
        )
        return True

    def restore_all(
        self,
        attachments: Iterable[model.Attachment],
        unless: Condition = never,
        locks: protocols.Locks = unlocked,
    ) -> list[model.Attachment]:
        """Restore each, past errors; raise the first at the end.

        :return: those that were restored.
        """
        restored, errors = [], []
        for attachment in attachments:
            try:
                with locks([lock_of(attachment)]):
                    if self.restore(attachment, unless):
                        restored.append(attachment)
            except exceptions.KuryrSriovError as error:
                errors.append(error)
        if errors:
            first, *others = errors
            for other in others:
                first.add_note(f'and: {other}')
            raise first
        return restored


def lock_of(attachment: model.Attachment) -> str:
    """Whose lock guards it: the PF's, or the VF's own without one."""
    return attachment.pf or attachment.pci
