# SPDX-License-Identifier: Apache-2.0
"""Binding driver for Acme NICs, which cannot tag jumbo frames."""

from oslo_config import cfg

from kuryr_sriov import Attachment, UnsupportedSetting
from kuryr_sriov.binding.netdevice import NetdeviceDriver


class AcmeDriver(NetdeviceDriver):
    """Refuses what the NIC would accept and then drop."""

    contract = 1
    group = 'acme'
    options = (
        cfg.FloatOpt(
            'device_timeout',
            default=30,
            help='Seconds to wait for a device at most.',
        ),
        cfg.IntOpt(
            'tagged_mtu',
            default=1500,
            help='Largest MTU, in bytes, of a VF on a VLAN.',
        ),
    )

    def connect(self, attachment: Attachment) -> None:
        """As ``netdevice``, if the NIC can do it.

        :raises UnsupportedSetting: the MTU is too large for a VLAN.
        """
        vif = attachment.vif
        if vif.vlan and vif.mtu > self.conf.tagged_mtu:
            raise UnsupportedSetting(
                f'{attachment.pci}: mtu {vif.mtu} cannot be set on VLAN '
                f'{vif.vlan}; lower the MTU of network {vif.network} to '
                f'{self.conf.tagged_mtu}',
                'mtu',
            )
        super().connect(attachment)
