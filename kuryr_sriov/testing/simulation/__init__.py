# SPDX-License-Identifier: Apache-2.0
"""A simulated node and a simulated kubelet.

Each is loaded when it is first used: the kubelet needs grpc.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kuryr_sriov.testing.simulation.kubelet import Kubelet
    from kuryr_sriov.testing.simulation.simulated_node import (
        FunctionState,
        Nic,
        Pf,
        SimulatedNode,
        Vf,
    )

__all__ = ['FunctionState', 'Kubelet', 'Nic', 'Pf', 'SimulatedNode', 'Vf']


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    home = 'kubelet' if name == 'Kubelet' else 'simulated_node'
    return getattr(importlib.import_module(f'{__name__}.{home}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
