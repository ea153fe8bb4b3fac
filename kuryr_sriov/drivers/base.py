# SPDX-License-Identifier: Apache-2.0
"""The contracts of the controller's drivers: subnets and VIFs.

Drivers are entry points in ``kuryr_sriov.subnet_drivers`` and
``kuryr_sriov.vif_drivers``; the operator chooses them by name in
``[sriov] subnet_driver`` and ``[sriov] vif_driver``.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:
    from kuryr_sriov import model

CONTRACT = 1
"""Version of these contracts; a driver states the one it was written for."""

DescribeSubnet: TypeAlias = 'Callable[[str], model.Subnet]'


class PodSubnetsDriver(abc.ABC):
    """Decides which subnets a network request is on.

    :cvar group: section of kuryr.conf that is passed in as ``conf``.
    :cvar options: oslo.config options of that section, if the driver
        brings its own.
    :param describe: the VIF driver's ``describe_subnet``.
    """

    contract: ClassVar[int] = CONTRACT
    group: ClassVar[str] = 'sriov'
    options: ClassVar[Sequence[Any]] = ()

    def __init__(self, conf: Any, describe: DescribeSubnet) -> None:
        self.conf = conf
        self.describe = describe

    @abc.abstractmethod
    def get_subnets(
        self, request: model.NetworkRequest
    ) -> tuple[model.Subnet, ...]:
        """At least one subnet, all of one network.

        :raises InvalidAnnotation: the request leads to no subnet.
        :raises ProviderRefused: the provider does not know the subnet.
        """


class PodVIFDriver(abc.ABC):
    """Obtains VIFs from a network provider. Thread-safe.

    :cvar group: section of kuryr.conf that is passed in as ``conf``.
    :cvar options: oslo.config options of that section, if the driver
        brings its own.
    """

    contract: ClassVar[int] = CONTRACT
    group: ClassVar[str] = 'sriov'
    options: ClassVar[Sequence[Any]] = ()

    def __init__(self, conf: Any) -> None:
        self.conf = conf

    @classmethod
    def preflight(cls, conf: Any) -> Sequence[str]:
        """What of ``conf`` will not do, one sentence each; optional.

        It may ask the provider; it changes nothing.
        """
        return ()

    def close(self) -> None:  # noqa: B027 (a driver may have nothing to close)
        """Close what is open; the next call opens it again; optional."""

    @abc.abstractmethod
    def describe_subnet(self, subnet_id: str) -> model.Subnet:
        """What the provider says of a subnet.

        :raises ProviderRefused: there is no such subnet.
        """

    @abc.abstractmethod
    def request_vifs(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> tuple[model.Vif, ...]:
        """One VIF for each request, in order; all or none.

        Idempotent for (pod uid, interface name): asked again, also after a
        crash, it returns what it made before. Each request has its
        ``subnets`` and ``resource``; ``ips`` and ``mac`` are honoured or
        refused.

        :raises ProviderExhausted: no address or quota is left, or another
            pod has the address or MAC asked for.
        :raises ProviderRefused: the provider will not do it.
        """

    @abc.abstractmethod
    def activate_vif(
        self, vif: model.Vif, location: model.Location
    ) -> model.Vif:
        """Tell the provider where the VF is; return the VIF as it is then.

        Idempotent.
        """

    @abc.abstractmethod
    def release_vifs(self, pod: model.Pod) -> None:
        """Give back all VIFs of the pod (by uid). Idempotent."""

    @abc.abstractmethod
    def list_vifs(self) -> Iterable[model.OwnedVif]:
        """All VIFs this driver has made and not released."""

    @abc.abstractmethod
    def collect_orphans(self, alive: Collection[str]) -> tuple[str, ...]:
        """Release VIFs whose pod uid is not in ``alive``; return their ids.

        Never another cluster's, and none younger than the driver's grace
        period.
        """
