# SPDX-License-Identifier: Apache-2.0
"""Interfaces of PCI functions, each confirmed to be what it is taken for."""

from __future__ import annotations

import errno

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base


def get_link(host: base.Host, function: model.PciDevice) -> model.Link:
    """The function's interface in the node's own network namespace.

    :raises KernelError: what has that index here is not the function's.
    """
    try:
        link = host.links.get(function.ifindex)
    except exceptions.KernelError as error:
        if error.errno != errno.ENODEV:
            raise
        raise _not_in_this_netns(function.pci, function.ifindex) from error
    confirm_function(link, function.pci)
    return link


def confirm_function(link: model.Link, pci: str) -> None:
    """Check that it is the interface of that function.

    A sysfs shows the interfaces of the network namespace in which it was
    mounted, which need not be the one that this process is in: the same
    index is another interface here.

    :raises KernelError: it is not.
    """
    if link.pci != pci:
        raise _not_in_this_netns(pci, link.index)


def _not_in_this_netns(pci: str, index: int) -> exceptions.KernelError:
    return exceptions.KernelError(
        f'{pci}: its interface, number {index} in /sys, is not in this '
        'network namespace; run in the host network, with a /sys that was '
        'mounted there',
        errno.ENODEV,
    )
