# SPDX-License-Identifier: Apache-2.0
"""VFs follow their VIFs, whose settings change while pods run."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager

from kuryr_sriov import model
from kuryr_sriov.handlers import protocols
from kuryr_sriov.handlers.events import (
    Event,
    Observer,
    about_attachment,
    telling,
)
from kuryr_sriov.handlers.restore import lock_of
from kuryr_sriov.handlers.wiring import Wiring

OPERATION = 'change'


class SettingsChange:
    """Changes settings of a VF that a pod has.

    The record says what is about to change before the VF does: what a kill
    leaves half-way is finished by the next call, and DEL restores the VF
    from its original state as ever.
    """

    def __init__(
        self,
        ledger: protocols.Ledger,
        wiring: Wiring,
        locks: protocols.Locks,
        observe: Observer,
    ) -> None:
        self._ledger = ledger
        self._wiring = wiring
        self._locks = locks
        self._observe = observe

    def apply(self, record: model.Attachment, newer: model.Vif) -> bool:
        """Have the VF of a record hold the settings of its newer VIF.

        :return: whether there was anything to change; not where the record
            went, or is being restored.
        """
        with self._locks([lock_of(record)]):
            now = self._read_again(record)
            if now is None:
                return False
            vif = now.vif.adopt_settings(newer)
            if vif == now.vif and now.pending is None:
                return False
            begun = about_attachment(now, OPERATION, OPERATION)
            with telling(self._observe, begun):
                self._change(now, vif, begun)
        return True

    def _change(
        self, record: model.Attachment, vif: model.Vif, begun: Event
    ) -> None:
        intended = dataclasses.replace(record, pending=vif)
        changed = dataclasses.replace(record, vif=vif, pending=None)
        with self._tell_step(begun, 'intend-change'):
            self._ledger.save([intended])
        with self._tell_step(begun, 'change-settings'):
            self._wiring.change_settings(intended, vif)
        with self._tell_step(begun, 'confirm-change'):
            self._ledger.save([changed])

    def _tell_step(
        self, begun: Event, step: str
    ) -> AbstractContextManager[None]:
        event = begun.become('started', step=step)
        return telling(self._observe, event)

    def _read_again(self, record: model.Attachment) -> model.Attachment | None:
        """The record as it is now, if a pod still has its VF."""
        for now in self._ledger.of(*record.key):
            same = (now.pci, now.vif.id) == (record.pci, record.vif.id)
            if same and now.done and not now.owed:
                return now
        return None
