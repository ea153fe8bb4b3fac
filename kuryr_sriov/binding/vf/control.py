# SPDX-License-Identifier: Apache-2.0
"""What a PF holds for one of its VFs: set in one request, and read back."""

from __future__ import annotations

import contextlib
import dataclasses

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base
from kuryr_sriov.binding.vf import interfaces, settings
from kuryr_sriov.host import errnos, wait


class LinkDown(exceptions.DeviceBusy):
    """The PF sets no rate while it has no link."""


class PfControl:
    """A PF's control of one of its VFs.

    :param device: the VF; its PF is in reach.
    :param timeout: seconds that a driver may take to apply a setting.
    :raises DeviceBusy: the PF has no netdev in this network namespace.
    """

    def __init__(
        self, host: base.Host, device: model.PciDevice, timeout: float
    ) -> None:
        assert device.vf_index is not None
        self._links = host.links
        self._device = device
        self._vf = device.vf_index
        self._timeout = timeout
        # The netdev may be renamed at any time; its index stays.
        self._index = host.pci.ifindex(device.pf)
        if not self._index:
            raise exceptions.DeviceBusy(
                f'{device.pf}: the PF of VF {device.pci} has no netdev in '
                'this network namespace; run in the host network, with the '
                'PF bound to its kernel driver'
            )

    def read(self) -> model.VfSettings:
        """What the PF holds for the VF now.

        :raises KernelError: the netdev is another function's.
        :raises DeviceBusy: the PF tells nothing of that VF.
        """
        pf = self._links.pf(self._index)
        interfaces.confirm_function(pf.link, self._device.pf)
        held = pf.vfs[self._vf] if self._vf < len(pf.vfs) else None
        if held is None:
            raise exceptions.DeviceBusy(
                f'{pf.link.name} ({pf.link.pci}) tells nothing of its VF '
                f'{self._vf} ({self._device.pci}), which may be resetting; '
                'see its sriov_numvfs, whether it is up, and the kernel log'
            )
        return held

    def set(self, target: model.VfSettings, current: model.VfSettings) -> None:
        """Make it hold ``target``, and read it back.

        :param current: what it holds now.
        :raises UnsupportedSetting: naming the first that it refuses.
        :raises LinkDown: it has no link, without which it sets no rate.
        """
        changes = self._list_changes(target, current)
        if changes is None:
            return
        refusal = self._send_changes(changes)
        if refusal and refusal.errno in errnos.PERHAPS_NOT_READY:
            self.read()  # fails while it is not ready
            refusal = self._send_changes(changes)
        self._verify_applied(target, refusal)

    def send(
        self, target: model.VfSettings, current: model.VfSettings
    ) -> exceptions.KernelError | None:
        """Send what differs, in one request, and do not read it back.

        :return: how the kernel refuses; None where it does not.
        :raises UnsupportedSetting: the NIC has no such setting.
        """
        changes = self._list_changes(target, current)
        return None if changes is None else self._send_changes(changes)

    def _list_changes(
        self, target: model.VfSettings, current: model.VfSettings
    ) -> model.VfSettings | None:
        """What to send; None for nothing."""
        changes = settings.settings_to_send(target, current)
        if changes is None:
            return None
        for name in settings.list_differing(target, current):
            if getattr(current, name) is None:
                raise settings.unsupported(
                    self._device.pci,
                    name,
                    getattr(target, name),
                    'the NIC has none',
                )
        return changes

    def _send_changes(
        self, changes: model.VfSettings
    ) -> exceptions.KernelError | None:
        """How the kernel refuses; None where it does not.

        It does not say which setting: those that are read back tell.
        """
        try:
            self._links.set_vf(self._index, self._vf, changes)
        except exceptions.KernelError as error:
            if error.errno in errnos.SETTING_POSTPONED:
                raise exceptions.DeviceBusy(str(error)) from error
            if error.errno not in errnos.SETTING_REFUSED:
                raise
            return error
        return None

    def restore(
        self, target: model.VfSettings, current: model.VfSettings
    ) -> str:
        """Like ``set``; what has to wait for the PF's link is owed.

        :return: what is owed, and why; empty for nothing.
        """
        try:
            self.set(target, current)
        except LinkDown as error:
            # The kernel stops at the rates: what it would have set after
            # them is not set yet.
            rest = dataclasses.replace(
                target, min_tx_rate=None, max_tx_rate=None
            )
            self.set(rest, self.read())
            return str(error)
        return ''

    def _verify_applied(
        self,
        target: model.VfSettings,
        refusal: exceptions.KernelError | None,
    ) -> None:
        """Read back; some drivers apply a MAC a little later."""
        names: list[str] = []

        def is_applied() -> bool:
            names[:] = settings.list_differing(target, self.read())
            return not names

        # What was refused does not come later: no wait under the PF's lock.
        if not is_applied() and refusal is None:
            with contextlib.suppress(exceptions.DeviceBusy):
                wait.wait_for(is_applied, self._timeout, self._device.pci)
        if names:
            name = settings.name_refused(
                names, refusal.errno if refusal else 0
            )
            if refusal and name in settings.RATES:
                self._check_carrier(refusal)
            raise settings.unsupported(
                self._device.pci,
                name,
                getattr(target, name),
                f'the NIC refuses ({refusal})'
                if refusal
                else 'the NIC accepted it and kept another',
            ) from refusal
        if refusal is not None:
            raise refusal

    def _check_carrier(self, refusal: exceptions.KernelError) -> None:
        """Some drivers (igb, ixgbe) set no rate while the PF has no link."""
        pf = self._links.get(self._index)
        if not pf.carrier:
            raise LinkDown(
                f'{self._device.pci}: no rate can be set ({refusal}) while '
                f'its PF {pf.name} ({self._device.pf}) has no link: set it '
                'up, see its cable and switch'
            ) from refusal
