# SPDX-License-Identifier: Apache-2.0
"""What is published of an attachment, in the formats of the NPWG.

Multi-network de-facto standard v1.3 (``network-status``) and device
information specification 1.1.0. Empty optional keys are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kuryr_sriov import model

NETWORK_STATUS = 'k8s.v1.cni.cncf.io/network-status'
"""Annotation of the pod that holds ``network_status`` as JSON."""


def network_status(
    attached: Sequence[model.AttachedVif],
) -> list[dict[str, Any]]:
    """One element for each interface, in the order given."""
    return [_status_element(item) for item in attached]


def _status_element(attached: model.AttachedVif) -> dict[str, Any]:
    vif = attached.vif
    status = {
        'name': vif.network,
        'interface': vif.ifname,
        'ips': [address.partition('/')[0] for address in vif.addresses],
        'mac': vif.mac,
        'mtu': vif.mtu,
        'dns': {'nameservers': list(vif.dns)} if vif.dns else {},
        'gateway': list(vif.gateways),
        'device-info': device_info(attached.device_info),
    }
    return {key: value for key, value in status.items() if value}


def device_info(info: model.DeviceInfo) -> dict[str, Any]:
    """Device-info 1.1.0 of type ``pci``."""
    pci = {
        'pci-address': info.pci,
        'pf-pci-address': info.pf_pci,
        'rdma-device': info.rdma_device,
    }
    return {
        'type': 'pci',
        'version': '1.1.0',
        'pci': {key: value for key, value in pci.items() if value},
    }
