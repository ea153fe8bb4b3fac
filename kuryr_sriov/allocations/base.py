# SPDX-License-Identifier: Apache-2.0
"""The contract of allocations: who says which VFs a pod has.

A source is an entry point in ``kuryr_sriov.allocations``. Which of them is
asked follows from ``[sriov] enable_pod_resource_service``.
"""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from kuryr_sriov import model


class Allocations(abc.ABC):
    """Tells which devices the kubelet has allocated. Thread-safe.

    :cvar contract: the version it was written for; see ``plugins``.
    :cvar group: section of kuryr.conf that is passed in as ``conf``.
    :cvar options: oslo.config options of that section, if the source brings
        its own.
    """

    contract: ClassVar[int]
    group: ClassVar[str] = 'sriov'
    options: ClassVar[Sequence[Any]] = ()

    def __init__(self, conf: Any) -> None:
        self.conf = conf

    @abc.abstractmethod
    def list_devices(self, pod: model.Pod) -> tuple[model.Device, ...]:
        """The devices of the pod's containers, sorted, each one once.

        Devices that are no PCI functions are among them; those that only an
        init container has, which has ended when the pod runs, are not.

        :raises KubeletUnavailable: that cannot be told now.
        """

    def list_offered(self) -> Mapping[str, Collection[str]]:
        """Ids of the devices that device plugins offer, by resource.

        They are those of pods, too. Resources have their full names.

        :return: nothing where the source does not know.
        :raises KubeletUnavailable: that cannot be told now.
        """
        return {}
