# SPDX-License-Identifier: Apache-2.0
"""Binding driver ``crane``: a VF with a limit, and a device of its own."""

from __future__ import annotations

import dataclasses
from typing import Any

from oslo_config import cfg

from acme_crane import GROUP
from kuryr_sriov import Attachment, DeviceInfo, Vif
from kuryr_sriov.binding.base import Host
from kuryr_sriov.binding.netdevice import NetdeviceDriver


class CraneDriver(NetdeviceDriver):
    """``netdevice``, but no VF is without a limit.

    A Crane does not share its wire fairly: one VF that sends what it can
    starves the others.
    """

    contract = 2
    group = GROUP
    options = (
        cfg.StrOpt(
            'kernel_driver',
            default='crane_vf',
            help='The kernel driver of the VFs.',
        ),
        cfg.IntOpt(
            'max_tx_rate',
            default=10000,
            min=1,
            help='Mbit/s that a VF may send where its port sets no limit.',
        ),
    )

    def __init__(self, name: str, host: Host, conf: Any) -> None:
        super().__init__(name, host, conf)
        self.kernel_driver = conf.kernel_driver

    def connect(self, attachment: Attachment) -> None:
        """As ``netdevice``, with the limit."""
        super().connect(self._limited(attachment))

    def check(self, attachment: Attachment) -> None:
        """As ``netdevice``, with the limit."""
        super().check(self._limited(attachment))

    def change_settings(self, attachment: Attachment, vif: Vif) -> None:
        """As ``netdevice``, with the limit."""
        super().change_settings(attachment, self._limit(vif))

    def device_info(self, attachment: Attachment) -> DeviceInfo:
        """As ``netdevice``, and where the pod finds the VF's counters."""
        info = super().device_info(attachment)
        return dataclasses.replace(
            info, device_nodes=(f'/dev/crane/{info.pci}',)
        )

    def _limited(self, attachment: Attachment) -> Attachment:
        return dataclasses.replace(attachment, vif=self._limit(attachment.vif))

    def _limit(self, vif: Vif) -> Vif:
        rate = vif.max_tx_rate or self.conf.max_tx_rate
        return dataclasses.replace(vif, max_tx_rate=rate)
