# SPDX-License-Identifier: Apache-2.0
"""Names of network interfaces, which udev and others give them, too."""

from __future__ import annotations

import errno
import logging

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base
from kuryr_sriov.host import wait

LOG = logging.getLogger(__name__)


def spare(pci: str) -> str:
    """A name of at most 15 characters that no other interface has."""
    return 'vf' + pci.replace(':', '').replace('.', '')


def rename(
    links: base.Links, link: model.Link, name: str, timeout: float
) -> None:
    """Rename it, also while udev deals with it.

    If somebody else's interface has the name, that is logged.

    :param link: in the node's own netns; down.
    :param timeout: seconds for udev to be done.
    """
    refusals = 0

    def done() -> bool:
        nonlocal refusals
        try:
            links.set(link.index, name=name)
            return True
        except exceptions.KernelError as error:
            if error.errno != errno.EEXIST:
                raise
        # udev makes it an alternative name of the very netdev, at every event
        # anew. That there is none may mean that udev has just removed it.
        if not links.remove_altname(link.index, name):
            refusals += 1
        return refusals > 1

    wait.wait_for(done, timeout, f'udev to be done with {link.name}')
    if refusals > 1:
        LOG.warning(
            '%s stays %s: its name %s is taken', link.pci, link.name, name
        )
