# SPDX-License-Identifier: Apache-2.0
"""What the suite of VIF drivers runs on: fixtures to override."""

from __future__ import annotations

import dataclasses
import ipaddress
import itertools
import uuid
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest

from kuryr_sriov import model
from kuryr_sriov.drivers import base


def _override(name: str) -> NotImplementedError:
    return NotImplementedError(f'override the fixture {name}')


class ProviderFixtures:
    """A network provider, and who asks it.

    These have to be overridden: ``conf``, ``impatient`` and ``neighbour``.
    What your provider has no word for has an answer all the same: where no
    other cluster can share it, a neighbour has one of his own.

    :cvar driver_class: the class under test.
    """

    driver_class: ClassVar[type[base.PodVIFDriver]]

    @pytest.fixture
    def conf(self) -> Any:
        """The driver's section of kuryr.conf; the same for all drivers."""
        raise _override('conf')

    @pytest.fixture
    def subnet_ids(self) -> tuple[str, str]:
        """Subnets of two networks, with room for twenty pods each."""
        return 'subnet-1', 'subnet-2'

    @pytest.fixture
    def small_subnet(self) -> str:
        """A subnet of another network, with room for one to seven."""
        return 'subnet-3'

    @pytest.fixture
    def unknown_subnet(self) -> str:
        """Id that no subnet has."""
        return '00000000-0000-4000-8000-00000000dead'

    @pytest.fixture
    def impatient(self) -> base.PodVIFDriver:
        """A driver as ``make`` makes it, but without grace for orphans."""
        raise _override('impatient')

    @pytest.fixture
    def neighbour(self) -> base.PodVIFDriver:
        """Another cluster's driver, with the same provider if it can be."""
        raise _override('neighbour')

    @pytest.fixture
    def make(self, conf: Any) -> Callable[[], base.PodVIFDriver]:
        """Makes a driver, as one more process of this cluster would."""
        return lambda: self.driver_class(conf)

    @pytest.fixture
    def driver(
        self, make: Callable[[], base.PodVIFDriver]
    ) -> base.PodVIFDriver:
        """The driver under test."""
        return make()

    @pytest.fixture
    def make_pod(self) -> Callable[..., model.Pod]:
        """Makes pods, each with a uid of its own, on a node of yours."""
        numbers = itertools.count(1)

        def pod(name: str = '') -> model.Pod:
            name = name or f'pod-{next(numbers)}'
            return model.Pod('default', name, str(uuid.uuid4()), 'node-1')

        return pod

    @pytest.fixture
    def pod(self, make_pod: Callable[..., model.Pod]) -> model.Pod:
        """A pod that has nothing yet."""
        return make_pod()

    @pytest.fixture
    def other(self, make_pod: Callable[..., model.Pod]) -> model.Pod:
        """Another one."""
        return make_pod()

    @pytest.fixture
    def make_request(
        self, driver: base.PodVIFDriver
    ) -> Callable[..., model.NetworkRequest]:
        """Makes a request as the controller hands it to the driver."""

        def request(
            subnet_id: str, ifname: str = 'net1', **wishes: Any
        ) -> model.NetworkRequest:
            subnet = driver.describe_subnet(subnet_id)
            return model.NetworkRequest(
                'default',
                f'sriov-{ifname}',
                ifname,
                subnet_ids=(subnet_id,),
                resource=f'intel.com/{subnet.physnet}',
                subnets=(subnet,),
                **wishes,
            )

        return request

    @pytest.fixture
    def requests(
        self,
        make_request: Callable[..., model.NetworkRequest],
        subnet_ids: Sequence[str],
    ) -> tuple[model.NetworkRequest, model.NetworkRequest]:
        """What the how-to's pod asks for: two interfaces, two networks."""
        first, second = subnet_ids
        return make_request(first), make_request(second, 'net2')

    @pytest.fixture
    def full(
        self,
        make_request: Callable[..., model.NetworkRequest],
        small_subnet: str,
    ) -> model.NetworkRequest:
        """A request for the small subnet."""
        return make_request(small_subnet, 'net2')

    @pytest.fixture
    def address(self, requests: Sequence[model.NetworkRequest]) -> str:
        """An address of the first subnet that a pod may ask for."""
        prefix = ipaddress.ip_network(requests[0].subnets[0].cidr)
        return str(prefix[min(prefix.num_addresses, 256) - 5])

    @pytest.fixture
    def foreign_address(self) -> str:
        """An address of no subnet."""
        return '198.51.100.7'  # RFC 5737

    @pytest.fixture
    def mac(self) -> str:
        """A MAC that a pod may ask for."""
        return '02:00:00:00:00:07'

    @pytest.fixture
    def location(self) -> Callable[[model.Vif], model.Location]:
        """Where a VIF has got its VF, a VF of its own."""
        numbers = itertools.count()

        def location(vif: model.Vif) -> model.Location:
            slot, function = divmod(next(numbers), 8)
            return model.Location(
                'node-1',
                f'0000:02:{slot + 16:02x}.{function}',
                '8086:10ca',
                vif.physnet,
            )

        return location


def inactive(vif: model.Vif) -> model.Vif:
    """The VIF without what activation may change."""
    return dataclasses.replace(vif, active=False)


def ids_of(driver: base.PodVIFDriver, *pods: model.Pod) -> list[str]:
    """Ids of the VIFs that the provider keeps for the pods, sorted."""
    uids = {pod.uid for pod in pods}
    return sorted(
        owned.vif.id for owned in driver.list_vifs() if owned.pod_uid in uids
    )
