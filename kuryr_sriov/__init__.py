# SPDX-License-Identifier: Apache-2.0
"""SR-IOV virtual functions for Kubernetes pods, as OpenStack Neutron ports.

``Controller`` turns pods into VIFs, ``Node`` wires VIFs to VFs. A host needs
no other import than this one. Everything here is loaded when it is first
used: whoever needs the node's side does not load the controller's.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from kuryr_sriov.clients.kubernetes.objects import Kubernetes
    from kuryr_sriov.clients.kubernetes.portobject import (
        Condition,
        PortObject,
        ReportedAttachment,
    )
    from kuryr_sriov.clients.kubernetes.records import (
        create_event,
        patch_event,
        read_lease,
        write_lease,
    )
    from kuryr_sriov.clients.kubernetes.session import KubernetesSession
    from kuryr_sriov.clients.kubernetes.watch import Change, ObjectCache
    from kuryr_sriov.config.examination import check_config
    from kuryr_sriov.config.loading import load_config, register_options
    from kuryr_sriov.controller import Controller
    from kuryr_sriov.exceptions import (
        ConfigurationError,
        DeviceBusy,
        DeviceMissing,
        Drifted,
        InvalidAnnotation,
        InvalidInput,
        KernelError,
        KubeletUnavailable,
        KuryrSriovError,
        LedgerBusy,
        LedgerError,
        NetworkMissing,
        NotAllocated,
        OrphansRefused,
        Owed,
        PermanentError,
        PluginError,
        ProviderDenied,
        ProviderExhausted,
        ProviderRefused,
        ProviderUnavailable,
        ResourceConflict,
        ResourceExpired,
        SandboxDeleted,
        TransientError,
        UnsupportedSetting,
    )
    from kuryr_sriov.handlers.events import Event, Observer
    from kuryr_sriov.handlers.restore import NotRestored, Reconciled
    from kuryr_sriov.model import (
        AttachedVif,
        Attachment,
        Device,
        DeviceInfo,
        GuestPort,
        Link,
        Location,
        NetworkRequest,
        OwnedVif,
        PciDevice,
        PfLink,
        Pod,
        Policy,
        Route,
        Sandbox,
        SetAside,
        Subnet,
        VfSettings,
        VfState,
        Vif,
    )
    from kuryr_sriov.node import Node
    from kuryr_sriov.npwg.requests import (
        entries_of,
        pod_of,
        wants_networks,
        wants_vifs,
    )
    from kuryr_sriov.npwg.status import (
        NETWORK_STATUS,
        device_info,
        network_status,
    )

__all__ = [
    'NETWORK_STATUS',
    'AttachedVif',
    'Attachment',
    'Change',
    'Condition',
    'ConfigurationError',
    'Controller',
    'Device',
    'DeviceBusy',
    'DeviceInfo',
    'DeviceMissing',
    'Drifted',
    'Event',
    'GuestPort',
    'InvalidAnnotation',
    'InvalidInput',
    'KernelError',
    'KubeletUnavailable',
    'Kubernetes',
    'KubernetesSession',
    'KuryrSriovError',
    'LedgerBusy',
    'LedgerError',
    'Link',
    'Location',
    'NetworkMissing',
    'NetworkRequest',
    'Node',
    'NotAllocated',
    'NotRestored',
    'ObjectCache',
    'Observer',
    'OrphansRefused',
    'Owed',
    'OwnedVif',
    'PciDevice',
    'PermanentError',
    'PfLink',
    'PluginError',
    'Pod',
    'Policy',
    'PortObject',
    'ProviderDenied',
    'ProviderExhausted',
    'ProviderRefused',
    'ProviderUnavailable',
    'Reconciled',
    'ReportedAttachment',
    'ResourceConflict',
    'ResourceExpired',
    'Route',
    'Sandbox',
    'SandboxDeleted',
    'SetAside',
    'Subnet',
    'TransientError',
    'UnsupportedSetting',
    'VfSettings',
    'VfState',
    'Vif',
    'check_config',
    'create_event',
    'device_info',
    'entries_of',
    'load_config',
    'network_status',
    'patch_event',
    'pod_of',
    'read_lease',
    'register_options',
    'wants_networks',
    'wants_vifs',
    'write_lease',
]

_HOMES = {
    'Change': 'clients.kubernetes.watch',
    'Condition': 'clients.kubernetes.portobject',
    'Controller': 'controller',
    'Event': 'handlers.events',
    'Kubernetes': 'clients.kubernetes.objects',
    'KubernetesSession': 'clients.kubernetes.session',
    'NETWORK_STATUS': 'npwg.status',
    'Node': 'node',
    'NotRestored': 'handlers.restore',
    'ObjectCache': 'clients.kubernetes.watch',
    'Observer': 'handlers.events',
    'PortObject': 'clients.kubernetes.portobject',
    'Reconciled': 'handlers.restore',
    'ReportedAttachment': 'clients.kubernetes.portobject',
    'check_config': 'config.examination',
    'create_event': 'clients.kubernetes.records',
    'device_info': 'npwg.status',
    'entries_of': 'npwg.requests',
    'load_config': 'config.loading',
    'network_status': 'npwg.status',
    'patch_event': 'clients.kubernetes.records',
    'pod_of': 'npwg.requests',
    'read_lease': 'clients.kubernetes.records',
    'register_options': 'config.loading',
    'wants_networks': 'npwg.requests',
    'wants_vifs': 'npwg.requests',
    'write_lease': 'clients.kubernetes.records',
}
"""The modules of all but the values and errors, which need nothing else."""


def __getattr__(name: str) -> Any:
    if name == '__version__':
        # It imports e-mail, zip files and more: not for a contract's sake.
        metadata = importlib.import_module('importlib.metadata')
        return metadata.version('kuryr-sriov')
    if name in __all__:
        homes = (_HOMES[name],) if name in _HOMES else ('exceptions', 'model')
        for home in homes:
            module = importlib.import_module(f'{__name__}.{home}')
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*__all__, '__all__', '__doc__', '__name__', '__version__'})
