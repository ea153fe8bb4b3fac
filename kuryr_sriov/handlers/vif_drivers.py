# SPDX-License-Identifier: Apache-2.0
"""Which VIF driver a node's pods have: bare metal and VMs in one cluster."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from typing import TypeVar

from kuryr_sriov.drivers import base

T = TypeVar('T')

Make = Callable[[str], base.PodVIFDriver]
"""Makes the VIF driver of an entry-point name."""


class VifDrivers:
    """The drivers in use, each made once.

    They are not wrapped: a method that a contract or a vendor adds is called
    on the driver itself.

    :param default: for nodes that no pattern fits; it describes subnets.
    :param by_pattern: entry-point names by patterns of node names, of which
        the first that fits counts.
    :ivar default: the driver of that name.
    :ivar all: every driver, the default one first.
    """

    def __init__(
        self, make: Make, default: str, by_pattern: Mapping[str, str]
    ) -> None:
        names = dict.fromkeys((default, *by_pattern.values()))
        made = {name: make(name) for name in names}
        self.default = made[default]
        self.all = tuple(made.values())
        self._by_pattern = {
            pattern: made[name] for pattern, name in by_pattern.items()
        }

    def of_node(self, node: str) -> base.PodVIFDriver:
        """The driver for pods of a node."""
        return find_fitting(node, self._by_pattern, self.default)


def find_fitting(node: str, by_pattern: Mapping[str, T], default: T) -> T:
    """What the first pattern that fits the node's name stands for."""
    return next(
        (
            found
            for pattern, found in by_pattern.items()
            if fnmatch.fnmatchcase(node, pattern)
        ),
        default,
    )
