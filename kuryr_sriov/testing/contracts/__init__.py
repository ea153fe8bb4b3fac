# SPDX-License-Identifier: Apache-2.0
"""A suite for each kind of driver, to be subclassed in a vendor's tests.

Each is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kuryr_sriov.testing.contracts.allocations_contract import (
        AllocationsContract,
    )
    from kuryr_sriov.testing.contracts.binding_contract import (
        BindingDriverContract,
        SimulatedBindingContract,
    )
    from kuryr_sriov.testing.contracts.hook_contract import (
        AttachmentHookContract,
    )
    from kuryr_sriov.testing.contracts.promise_contract import PromiseContract
    from kuryr_sriov.testing.contracts.subnets_contract import (
        PodSubnetsDriverContract,
    )
    from kuryr_sriov.testing.contracts.vif_contract import PodVIFDriverContract

__all__ = [
    'AllocationsContract',
    'AttachmentHookContract',
    'BindingDriverContract',
    'PodSubnetsDriverContract',
    'PodVIFDriverContract',
    'PromiseContract',
    'SimulatedBindingContract',
]

_HOMES = {
    'AllocationsContract': 'allocations_contract',
    'BindingDriverContract': 'binding_contract',
    'AttachmentHookContract': 'hook_contract',
    'PodSubnetsDriverContract': 'subnets_contract',
    'PodVIFDriverContract': 'vif_contract',
    'PromiseContract': 'promise_contract',
    'SimulatedBindingContract': 'binding_contract',
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module = importlib.import_module(f'{__name__}.{_HOMES[name]}')
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
