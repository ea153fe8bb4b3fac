# SPDX-License-Identifier: Apache-2.0
"""Records that cannot be read: told once, and shown until they are gone."""

from __future__ import annotations

from kuryr_sriov import exceptions, model
from kuryr_sriov.handlers import protocols
from kuryr_sriov.handlers.events import Event, Observer
from kuryr_sriov.handlers.restore import NotRestored


class UnreadableRecords:
    """What a node says and does about records that were set aside.

    :param boot_id: of the running boot.
    """

    def __init__(self, boot_id: str, observe: Observer) -> None:
        self._boot_id = boot_id
        self._observe = observe

    def tell(self, record: model.SetAside) -> None:
        """Tell the observer that a record was set aside."""
        self._observe(
            Event(
                'set-aside',
                'failed',
                'set-aside',
                container_id=record.container_id,
                ifname=record.ifname,
                pci=record.pci,
                error=exceptions.LedgerError(
                    f'its record cannot be read and is set aside: '
                    f'{record.reason}'
                ),
            )
        )

    def list_failures(self, ledger: protocols.Ledger) -> list[NotRestored]:
        """The VFs that such records keep; those of earlier boots are freed."""
        found = ledger.set_aside()
        # A boot makes all VFs again, so that nothing is left to restore.
        past = [each.pci for each in found if each.boot_id != self._boot_id]
        if past:
            ledger.forget_set_aside(past)
        return [
            NotRestored(
                each.container_id,
                each.ifname,
                each.pci,
                exceptions.LedgerError(
                    f'{ledger.path}: the record of VF {each.pci} cannot be '
                    f'read: {each.reason}'
                ),
            )
            for each in found
            if each.pci not in past
        ]
