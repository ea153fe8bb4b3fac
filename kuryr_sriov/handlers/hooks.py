# SPDX-License-Identifier: Apache-2.0
"""The contract of attachment hooks: what else a node does for each VF.

A hook is an entry point in ``kuryr_sriov.attachment_hooks``; the operator
chooses hooks, and their order, by name in ``[sriov] attachment_hooks``.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from kuryr_sriov import model
    from kuryr_sriov.binding.base import Host


class AttachmentHook(abc.ABC):
    """Does something more for each attachment, and takes it back.

    ``run`` follows the binding driver's ``connect``, ``undo`` precedes its
    ``disconnect``: in an attach that fails, and in DEL, GC and after a crash.
    The caller holds the lock of the VF's PF.

    :cvar contract: the version it was written for; see ``plugins``.
    :cvar group: section of kuryr.conf that is passed in as ``conf``.
    :cvar options: oslo.config options of that section, if the hook brings
        its own.
    :param name: entry-point name it was chosen by.
    :param host: this node.
    :param conf: that section of kuryr.conf.
    """

    contract: ClassVar[int]
    group: ClassVar[str] = 'sriov'
    options: ClassVar[Sequence[Any]] = ()

    def __init__(self, name: str, host: Host, conf: Any) -> None:
        self.name = name
        self.host = host
        self.conf = conf

    @abc.abstractmethod
    def run(self, attachment: model.Attachment) -> None:
        """Do it. An error fails the attach, and ``undo`` is called.

        The pod does not run yet, and the VF is in its sandbox.
        """

    @abc.abstractmethod
    def undo(self, attachment: model.Attachment) -> None:
        """Take it back.

        Idempotent. Works after any part of ``run``, in a later process, and
        when pod and netns are gone. While it raises, the attachment stays
        on record, and the next DEL tries again. It is not called for what
        was done before the last boot: nothing may outlive that.
        """
