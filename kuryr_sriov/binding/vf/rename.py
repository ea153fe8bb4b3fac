# SPDX-License-Identifier: Apache-2.0
"""Renaming network interfaces, which udev and others rename as well."""

from __future__ import annotations

import errno

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base
from kuryr_sriov.host import wait


def make_spare_name(pci: str) -> str:
    """A name of at most 15 characters that no other interface has."""
    # The kernel's limit is IFNAMSIZ, with the final zero.
    return 'vf' + pci.replace(':', '').replace('.', '')


def rename_link(
    links: base.Links, link: model.Link, name: str, timeout: float
) -> str:
    """The name that it has now: ``name``, even while udev is working on it.

    If somebody else's interface has the name, it gets a name that nobody
    has, and not that of a pod.

    :param link: in the node's own netns; down.
    :param timeout: seconds for udev to be done.
    """
    refusals = 0

    def is_renamed() -> bool:
        nonlocal refusals
        try:
            links.set(link.index, name=name)
            return True
        except exceptions.KernelError as error:
            if error.errno != errno.EEXIST:
                raise
        # At every event udev makes it an alternative name of the very
        # netdev. That there is none may mean that udev has just removed it.
        if not links.remove_altname(link.index, name):
            refusals += 1
        return refusals > 1

    wait.wait_for(is_renamed, timeout, f'udev to be done with {link.name}')
    if refusals <= 1:
        return name
    spare = make_spare_name(link.pci)
    links.set(link.index, name=spare)
    return spare
