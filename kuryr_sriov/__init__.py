# SPDX-License-Identifier: Apache-2.0
"""SR-IOV virtual functions for Kubernetes pods, as OpenStack Neutron ports.

``Controller`` turns pods into VIFs, ``Node`` wires VIFs to VFs. Everything
here is loaded when first used: importing a contract costs the contract.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kuryr_sriov.config.loading import load_config
    from kuryr_sriov.controller import Controller
    from kuryr_sriov.exceptions import (
        ConfigurationError,
        DeviceBusy,
        DeviceMissing,
        Drifted,
        InvalidAnnotation,
        KernelError,
        KubeletUnavailable,
        KuryrSriovError,
        LedgerBusy,
        LedgerError,
        NotAllocated,
        PermanentError,
        PluginError,
        ProviderExhausted,
        ProviderRefused,
        ProviderUnavailable,
        TransientError,
        UnsupportedSetting,
    )
    from kuryr_sriov.model import (
        Attached,
        Attachment,
        Device,
        DeviceInfo,
        Link,
        Location,
        NetworkRequest,
        OwnedVif,
        PciDevice,
        Pod,
        Route,
        Sandbox,
        Subnet,
        VfSettings,
        VfState,
        Vif,
    )
    from kuryr_sriov.node import Node

__all__ = [
    'Attached',
    'Attachment',
    'ConfigurationError',
    'Controller',
    'Device',
    'DeviceBusy',
    'DeviceInfo',
    'DeviceMissing',
    'Drifted',
    'InvalidAnnotation',
    'KernelError',
    'KubeletUnavailable',
    'KuryrSriovError',
    'LedgerBusy',
    'LedgerError',
    'Link',
    'Location',
    'NetworkRequest',
    'Node',
    'NotAllocated',
    'OwnedVif',
    'PciDevice',
    'PermanentError',
    'PluginError',
    'Pod',
    'ProviderExhausted',
    'ProviderRefused',
    'ProviderUnavailable',
    'Route',
    'Sandbox',
    'Subnet',
    'TransientError',
    'UnsupportedSetting',
    'VfSettings',
    'VfState',
    'Vif',
    'load_config',
]

_HOMES = {
    'Controller': 'controller',
    'Node': 'node',
    'load_config': 'config.loading',
}
"""Modules of what costs something to import."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        homes = (_HOMES[name],) if name in _HOMES else ('exceptions', 'model')
        for home in homes:
            module = importlib.import_module(f'{__name__}.{home}')
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
