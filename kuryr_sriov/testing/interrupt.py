# SPDX-License-Identifier: Apache-2.0
"""A host on which everything stops at a chosen change, as in a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kuryr_sriov.binding import base

CHANGES = frozenset(
    {
        'add_address',
        'add_route',
        'announce',
        'bind',
        'remove_altname',
        'set',
        'set_vf',
    }
)


class Killed(BaseException):
    """Ends the caller as a kill would: no ``except Exception`` sees it."""


class InterruptedHost:
    """``host``, but for the change after the first ``allowed`` ones.

    :ivar changes: how many were made.
    """

    def __init__(self, host: base.Host, allowed: int) -> None:
        self.changes = 0
        self._allowed = allowed
        self.pci: Any = _Counting(host.pci, self._count)
        self.links: Any = _Counting(host.links, self._count)

    def _count(self) -> None:
        if self.changes == self._allowed:
            raise Killed
        self.changes += 1


class _Counting:
    def __init__(self, target: object, count: Callable[[], None]) -> None:
        self._target = target
        self._count = count

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if name not in CHANGES:
            return method

        def change(*args: Any, **kwargs: Any) -> Any:
            self._count()
            return method(*args, **kwargs)

        return change
