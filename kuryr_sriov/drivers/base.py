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

from kuryr_sriov import exceptions

if TYPE_CHECKING:
    from kuryr_sriov import model

DescribeSubnet: TypeAlias = 'Callable[[str], model.Subnet]'
ListNodes: TypeAlias = 'Callable[[], Iterable[str]]'
TellCall: TypeAlias = 'Callable[[str, float, BaseException | None], object]'


class PodSubnetsDriver(abc.ABC):
    """Decides which subnets a network request is on.

    :cvar contract: the version it was written for; see ``plugins``.
    :cvar group: section of kuryr.conf that is passed in as ``conf``.
    :cvar options: oslo.config options of that section, if the driver
        brings its own.
    :param describe: the VIF driver's ``describe_subnet``.
    """

    contract: ClassVar[int]
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

    :cvar contract: the version it was written for; see ``plugins``.
    :cvar group: section of kuryr.conf that is passed in as ``conf``.
    :cvar options: oslo.config options of that section, if the driver
        brings its own.
    :cvar policy_fields: fields of ``model.Policy`` that it can do; a NAD
        that says anything of another one is refused before the driver is
        asked. ``model.VF_POLICY`` for one that hands the VIFs that it makes
        to ``Policy.fill``.
    :param cluster: identity of this Kubernetes cluster (the uid of its
        namespace ``kube-system``), for providers that several share; empty
        where the host does not tell.
    """

    contract: ClassVar[int]
    group: ClassVar[str] = 'sriov'
    options: ClassVar[Sequence[Any]] = ()
    policy_fields: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, conf: Any, cluster: str = '') -> None:
        self.conf = conf
        self.cluster = cluster

    @classmethod
    def preflight(cls, conf: Any) -> Sequence[str]:
        """What is wrong with ``conf``, one sentence each; optional.

        It may ask the provider; it changes nothing.
        """
        return ()

    @classmethod
    def preflight_nodes(
        cls, conf: Any, list_nodes: ListNodes
    ) -> Sequence[str]:
        """What keeps pods of single nodes from VIFs, one sentence each.

        It may ask the provider; it changes nothing. Optional.

        :param list_nodes: asks the API server, so that it is not to be
            called for nothing.
        """
        return ()

    def close(self) -> None:  # noqa: B027 (a driver may have nothing to close)
        """Close what is open; the next call opens it again; optional."""

    def tell_calls(self, tell: TellCall) -> None:  # noqa: B027 (optional)
        """Call ``tell`` after each request to the provider, from now on.

        With what was asked, such as ``POST ports``, the seconds it took, and
        the error it failed with or None. Optional.
        """

    def refresh_vifs(self, vifs: Sequence[model.Vif]) -> Iterable[model.Vif]:
        """Those of the VIFs that the provider knows, as it has them now.

        Somebody may change a VIF at the provider while its pod runs: its
        VLAN, rates, link state, trust, spoof check. It changes nothing
        itself, and asks little for many VIFs. Optional.
        """
        return ()

    def find_active(self, vif_ids: Collection[str]) -> Iterable[str]:
        """Ids of those of the VIFs whose traffic flows by now.

        Asked every few seconds, and only for VIFs of which the provider has
        not said so yet. By default all VIFs are listed: let it cost by the
        number of ids where the provider can. Optional.
        """
        return (
            owned.vif.id
            for owned in self.list_vifs()
            if owned.vif.active and owned.vif.id in vif_ids
        )

    def forget_all(self) -> None:  # noqa: B027 (one that remembers nothing)
        """Forget what is remembered: another process may have acted since.

        Called when this process begins to lead. The requests that its
        predecessor sent last may still arrive at the provider. Optional.
        """

    @abc.abstractmethod
    def describe_subnet(self, subnet_id: str) -> model.Subnet:
        """What the provider says of a subnet.

        :raises ProviderRefused: there is no such subnet.
        """

    def describe_port(self, port_id: str) -> model.GuestPort:
        """What the provider says of a port that was not made for a pod.

        It is one of a virtual machine that is a node. Changes nothing;
        optional.

        :raises ProviderRefused: there is no such port, or it is no
            machine's.
        """
        raise exceptions.ProviderRefused(
            f'port {port_id}: this VIF driver does not know ports of '
            'virtual machines; say [sriov] guest_addresses = metadata'
        )

    @abc.abstractmethod
    def request_vifs(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> tuple[model.Vif, ...]:
        """One VIF for each request, in order; all or none.

        Idempotent for (pod uid, interface name): asked again, also after a
        crash, it returns what it made before. Each request has its
        ``subnets`` and ``resource``; ``ips`` and ``mac`` are honoured or
        refused. So is its ``policy``, but where the provider says something
        else of the VF: then the VIF is as the provider says.

        The requests are all that the pod has. A VIF beyond them, or one
        that was made for another request, goes if it was never activated. If
        it was, the pod may be running on it: then it stays, and the request
        is refused. So no pod gets more VIFs than it has devices.

        :raises ProviderExhausted: no address or quota is left, or another
            pod has the address or MAC asked for.
        :raises ProviderRefused: the provider will not do it, or the pod has
            to be made again first.
        """

    @abc.abstractmethod
    def activate_vif(
        self, pod: model.Pod, vif: model.Vif, location: model.Location
    ) -> model.Vif:
        """Tell the provider where the VF is; return the VIF as it is then.

        Idempotent. What is asked for comes from a node: verify that the VIF
        is one of this cluster's, the pod's, on the pod's node, and on the
        physnet that the node says the VF is on.

        :raises ProviderRefused: it is not, or it is gone.
        :raises DeviceBusy: another VIF is on that VF.
        """

    @abc.abstractmethod
    def release_vifs(self, pod: model.Pod) -> None:
        """Give back all VIFs of the pod (by uid). Idempotent."""

    @abc.abstractmethod
    def list_vifs(self) -> Iterable[model.OwnedVif]:
        """All VIFs that were made for this cluster and are not released."""

    @abc.abstractmethod
    def release_vif(self, owned: model.OwnedVif) -> None:
        """Give back one VIF that was listed. Idempotent.

        :raises TransientError: it has been placed since it was listed.
        """
