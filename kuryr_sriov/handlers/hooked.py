# SPDX-License-Identifier: Apache-2.0
"""A binding driver, and the node's own steps on top of it."""

from __future__ import annotations

from collections.abc import Iterable

from kuryr_sriov import model
from kuryr_sriov.binding import base
from kuryr_sriov.handlers.hooks import NodeStep
from kuryr_sriov.handlers.pipeline import Observer


class Stepped(base.BindingDriver):
    """Whoever connects a VF runs the steps, whoever disconnects it undoes.

    So the steps need no record of their own: the attachment's, which is
    there before ``connect``, is what undoes both.

    :param observe: is told the name of each step before it runs or is
        undone.
    """

    def __init__(
        self,
        driver: base.BindingDriver,
        steps: Iterable[NodeStep],
        observe: Observer,
    ) -> None:
        super().__init__(driver.name, driver.host, driver.conf)
        self._driver = driver
        self._steps = tuple(steps)
        self._observe = observe

    def snapshot(self, pci: str) -> model.VfState:
        """As the driver does."""
        return self._driver.snapshot(pci)

    def connect(self, attachment: model.Attachment) -> None:
        """As the driver does; then run the steps in order."""
        self._driver.connect(attachment)
        for step in self._steps:
            self._observe(step.name)
            step.run(attachment)

    def announce(self, attachment: model.Attachment) -> None:
        """As the driver does."""
        self._driver.announce(attachment)

    def disconnect(self, attachment: model.Attachment) -> None:
        """Undo the steps, the last one first; then as the driver does."""
        for step in reversed(self._steps):
            self._observe(f'undo-{step.name}')
            step.undo(attachment)
        self._driver.disconnect(attachment)

    def check(self, attachment: model.Attachment) -> None:
        """As the driver does."""
        self._driver.check(attachment)

    def device_info(self, attachment: model.Attachment) -> model.DeviceInfo:
        """As the driver does."""
        return self._driver.device_info(attachment)
