# SPDX-License-Identifier: Apache-2.0
"""Whether a sandbox on record still exists, or another has its path."""

from __future__ import annotations

import dataclasses
import errno

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base

OWN = ''
"""The node's own network namespace."""


class Sandboxes:
    """Sandboxes by their network namespaces.

    :param boot_id: of the running boot.
    """

    def __init__(self, links: base.Links, boot_id: str) -> None:
        self._links = links
        self._boot_id = boot_id

    def identify(self, sandbox: model.Sandbox) -> str:
        """What identifies the sandbox's network namespace.

        :raises InvalidInput: there is none at its path, or it is the node's
            own: a VF would bring its addresses and routes to the node.
        """
        try:
            netns_id = self._links.identify(sandbox.netns)
        except exceptions.KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            raise exceptions.InvalidInput(
                f'pod {sandbox.pod}: {error}', 'netns'
            ) from error
        if netns_id == self._links.identify(OWN):
            raise exceptions.InvalidInput(
                f'{sandbox.netns}, the network namespace of pod '
                f"{sandbox.pod}, is the node's own; a pod with hostNetwork "
                'has no VFs',
                'netns',
            )
        return netns_id

    def is_there(self, attachment: model.Attachment) -> bool:
        """Whether the attachment's sandbox still exists, in this boot.

        :raises KernelError: that cannot be told.
        """
        return (
            attachment.boot_id == self._boot_id
            and self._links.alive(attachment.sandbox.netns)
            and not self._is_replaced(attachment)
        )

    def without_replaced(
        self, attachment: model.Attachment
    ) -> model.Attachment:
        """The attachment, without its path if another namespace has it.

        Otherwise its VF would be looked for in that namespace, which is
        another pod's.
        """
        if not self._is_replaced(attachment):
            return attachment
        sandbox = dataclasses.replace(
            attachment.sandbox,
            netns=f'{attachment.sandbox.netns} (replaced by another)',
        )
        return dataclasses.replace(attachment, sandbox=sandbox)

    def _is_replaced(self, attachment: model.Attachment) -> bool:
        if not attachment.netns_id:  # of a release that did not record it
            return False
        try:
            found = self._links.identify(attachment.sandbox.netns)
        except exceptions.KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        return found != attachment.netns_id
