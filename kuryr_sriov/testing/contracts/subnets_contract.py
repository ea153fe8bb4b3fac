# SPDX-License-Identifier: Apache-2.0
"""The contract suite of subnet drivers.

Subclass ``PodSubnetsDriverContract`` in a pytest module, override the
fixtures that say how your driver is configured and what it answers, and
pytest runs the suite::

    class TestMyDriver(PodSubnetsDriverContract):
        driver_class = MyDriver

        @pytest.fixture
        def conf(self):
            return types.SimpleNamespace(my_option='four')

The provider has the subnets of the fixture ``subnets``: ``four`` and ``six``
are of one network, ``other`` is on the same wire, ``far`` on another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent import futures
from typing import Any, ClassVar

import pytest

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.drivers import base

Subnets = dict[str, model.Subnet]
Answers = Mapping[model.NetworkRequest, Sequence[str]]
Refusals = Mapping[model.NetworkRequest, type[exceptions.PermanentError]]


def network_request(
    *subnet_ids: str, name: str = 'sriov-net1', **more: Any
) -> model.NetworkRequest:
    """What the controller makes of a pod's annotation and its NAD."""
    return model.NetworkRequest('default', name, 'net1', subnet_ids, **more)


class PodSubnetsDriverContract:
    """What every subnet driver has to do, and why.

    :cvar driver_class: the class under test.
    """

    driver_class: ClassVar[type[base.PodSubnetsDriver]]

    @pytest.fixture
    def conf(self) -> Any:
        """The driver's section of kuryr.conf; override it."""
        raise NotImplementedError('override the fixture conf')

    @pytest.fixture
    def subnets(self) -> Subnets:
        """What the network provider has, by id."""
        return {
            subnet.id: subnet
            for subnet in (
                model.Subnet('four', 'net', 'physnet22', '192.168.2.0/24'),
                model.Subnet('six', 'net', 'physnet22', 'fd00:2::/64'),
                model.Subnet('other', 'net2', 'physnet22', '192.168.4.0/24'),
                model.Subnet('far', 'net3', 'physnet23', '192.168.3.0/24'),
            )
        }

    @pytest.fixture
    def answers(self) -> Answers:
        """Requests, with the ids of the subnets that they lead to."""
        return {
            network_request('four'): ['four'],
            network_request('six', 'four'): ['six', 'four'],
            network_request('far'): ['far'],
        }

    @pytest.fixture
    def refusals(self) -> Refusals:
        """Requests that lead nowhere, with the error that says so."""
        return {
            network_request(): exceptions.InvalidAnnotation,
            network_request('four', 'other'): exceptions.InvalidAnnotation,
            network_request('nowhere'): exceptions.ProviderRefused,
        }

    @pytest.fixture
    def describe(self, subnets: Subnets) -> base.DescribeSubnet:
        """What the VIF driver says of a subnet."""

        def describe(subnet_id: str) -> model.Subnet:
            if subnet_id not in subnets:
                raise exceptions.ProviderRefused(f'no subnet {subnet_id}')
            return subnets[subnet_id]

        return describe

    @pytest.fixture
    def driver(
        self, conf: Any, describe: base.DescribeSubnet
    ) -> base.PodSubnetsDriver:
        """The driver under test."""
        return self.driver_class(conf, describe)

    def test_the_library_would_load_it(self) -> None:
        """Else the first who sees the refusal is an operator."""
        broken = plugins.find_breach(self.driver_class, plugins.SUBNET_DRIVERS)
        assert not broken, f'{self.driver_class.__qualname__} {broken}'

    def test_each_request_leads_to_its_subnets(
        self,
        driver: base.PodSubnetsDriver,
        subnets: Subnets,
        answers: Answers,
    ) -> None:
        """As the provider describes them: a guess is another's VLAN."""
        assert answers
        for request, ids in answers.items():
            found = driver.get_subnets(request)
            assert isinstance(found, tuple)
            assert found == tuple(subnets[each] for each in ids)

    def test_all_subnets_are_of_one_network_and_one_wire(
        self, driver: base.PodSubnetsDriver, answers: Answers
    ) -> None:
        """An interface has one VLAN: addresses of another are dead."""
        for request in answers:
            found = driver.get_subnets(request)
            assert len({s.network for s in found}) == 1
            assert len({s.physnet for s in found}) == 1

    def test_what_leads_nowhere_is_refused_by_name(
        self, driver: base.PodSubnetsDriver, refusals: Refusals
    ) -> None:
        """Somebody has to find the NAD among hundreds, and correct it."""
        assert refusals
        for request, error in refusals.items():
            with pytest.raises(error, match=str(request)):
                driver.get_subnets(request)

    def test_asked_again_it_is_the_same(
        self, driver: base.PodSubnetsDriver, answers: Answers
    ) -> None:
        """Every event of a pod asks; VIFs are made for one answer."""
        for request in answers:
            first = driver.get_subnets(request)
            assert driver.get_subnets(request) == first

    def test_asked_by_many_threads_at_once_it_is_the_same(
        self, driver: base.PodSubnetsDriver, answers: Answers
    ) -> None:
        """One pod's answer must not depend on another pod's question."""
        asked = list(answers) * 8
        alone = list(map(driver.get_subnets, asked))
        with futures.ThreadPoolExecutor(4) as threads:
            assert list(threads.map(driver.get_subnets, asked)) == alone

    def test_a_changed_subnet_is_seen(
        self,
        driver: base.PodSubnetsDriver,
        subnets: Subnets,
        answers: Answers,
    ) -> None:
        """The VIF driver may remember subnets; it knows for how long."""
        for request in answers:
            driver.get_subnets(request)
        for name, subnet in subnets.items():
            subnets[name] = dataclasses.replace(subnet, mtu=9000)
        for request in answers:
            found = driver.get_subnets(request)
            assert {subnet.mtu for subnet in found} == {9000}

    def test_an_outage_of_the_provider_stays_one(
        self, conf: Any, answers: Answers
    ) -> None:
        """Called permanent, it would fail pods that a retry would start."""

        def down(subnet_id: str) -> model.Subnet:
            raise exceptions.ProviderUnavailable('no answer', 7.0)

        driver = self.driver_class(conf, down)
        for request in answers:
            with pytest.raises(exceptions.TransientError) as raised:
                driver.get_subnets(request)
            assert raised.value.retry_after == 7.0
