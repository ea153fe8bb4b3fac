# SPDX-License-Identifier: Apache-2.0
"""The RDMA device of a PCI function, as sysfs shows it.

Follows the kernel's ``Documentation/ABI/stable/sysfs-class-infiniband`` and
``drivers/infiniband/core``.
"""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

CONNECTION_MANAGER = 'sys/class/misc/rdma_cm'
NODES = '/dev/infiniband'


class RdmaNames(NamedTuple):
    """What a function's RDMA device is called; all empty for none.

    :param device: its name, wherever it is.
    :param here: whether it is in the node's own network namespace.
    :param verbs: name of its verbs device, ``uverbs0``.
    """

    device: str = ''
    here: bool = False
    verbs: str = ''


def read_names(path: str) -> RdmaNames:
    """The names of the RDMA device of the function with that folder."""
    here = _first_name(f'{path}/infiniband')
    verbs = _first_name(f'{path}/infiniband_verbs')
    # The folder of an RDMA device is in the sysfs of its network namespace
    # alone. That of its verbs device is in all, and names it.
    name = here
    if verbs and not here:
        name = _read(f'{path}/infiniband_verbs/{verbs}/ibdev')
    return RdmaNames(name, bool(here), verbs)


def list_nodes(root: pathlib.Path, verbs: str) -> tuple[str, ...]:
    """Paths of the device nodes by which a program uses it."""
    if not verbs:
        return ()
    has_manager = (root / CONNECTION_MANAGER).exists()
    more = (f'{NODES}/rdma_cm',) if has_manager else ()
    return (f'{NODES}/{verbs}', *more)


def _first_name(folder: str) -> str:
    try:
        return min(os.listdir(folder), default='')
    except OSError:
        return ''


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:  # ENODEV while it changes its namespace
        return ''
