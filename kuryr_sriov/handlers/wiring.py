# SPDX-License-Identifier: Apache-2.0
"""A VF's binding driver together with the node's attachment hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.binding import base
from kuryr_sriov.handlers.events import Observer, about_attachment, telling
from kuryr_sriov.handlers.hooks import AttachmentHook
from kuryr_sriov.host import wait

CHANGES_SETTINGS = 2
"""Version of the contract that has ``change_settings``."""


class Wiring:
    """Connects VFs and runs the hooks; disconnects VFs and undoes them.

    The hooks need no record of their own: that of the attachment, which is
    there before ``connect``, undoes both. The drivers themselves are not
    wrapped: a method that a contract or a vendor adds is called directly.

    :param driver_of: the binding driver of an entry-point name.
    """

    def __init__(
        self,
        driver_of: Callable[[str], base.BindingDriver],
        hooks: Iterable[AttachmentHook],
        observe: Observer,
    ) -> None:
        self.driver_of = driver_of
        self._hooks = tuple(hooks)
        self._observe = observe

    def snapshot(self, driver: str, pci: str) -> model.VfState:
        """The VF's state, by the binding driver of that name."""
        binding = self.driver_of(driver)
        return wait.run_apart(
            lambda: binding.snapshot(pci), f'look at VF {pci}'
        )

    def connect(self, attachment: model.Attachment, operation: str) -> None:
        """Give the VF to the sandbox, then run the hooks in order."""
        begun = about_attachment(attachment, 'connect', operation)
        with telling(self._observe, begun):
            driver = self.driver_of(attachment.driver)
            wait.run_apart(
                lambda: driver.connect(attachment),
                f'connect VF {attachment.pci}',
            )
            for hook in self._hooks:
                event = begun.become('started', step=hook.name)
                with telling(self._observe, event):
                    hook.run(attachment)

    def change_settings(
        self, attachment: model.Attachment, vif: model.Vif
    ) -> None:
        """Have the VF follow its VIF, which has changed.

        :raises UnsupportedSetting: the driver was written when VFs of running
            pods stayed as they were.
        """
        driver = self.driver_of(attachment.driver)
        version = plugins.stated_version(type(driver))
        if version is not None and version < CHANGES_SETTINGS:
            # One that is made of ours has inherited the method, which does
            # not know what the driver does to its VF besides.
            raise exceptions.UnsupportedSetting(
                f'{vif.ifname}: binding driver {driver.name} was written for '
                f'version {version} of its contract, in which a VF does not '
                'change while its pod runs; upgrade its distribution, or '
                'recreate the pod',
                'driver',
            )
        driver.change_settings(attachment, vif)

    def disconnect(self, attachment: model.Attachment, operation: str) -> None:
        """Undo the hooks, the last one first; then restore the VF."""
        for hook in reversed(self._hooks):
            event = about_attachment(attachment, hook.name, operation).become(
                'undoing'
            )
            with telling(self._observe, event):
                hook.undo(attachment)
        driver = self.driver_of(attachment.driver)
        wait.run_apart(
            lambda: driver.disconnect(attachment),
            f'disconnect VF {attachment.pci}',
        )
