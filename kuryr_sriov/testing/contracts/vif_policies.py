# SPDX-License-Identifier: Apache-2.0
"""A part of the suite of VIF drivers: what a NAD says of ports and VFs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers import base
from kuryr_sriov.testing.fixtures.provider_fixtures import (
    ProviderFixtures,
    inactive,
)

AskFor = Callable[..., model.NetworkRequest]
Locate = Callable[[model.Vif], model.Location]

SETTINGS: dict[str, Any] = {
    'trust': True,
    'spoofchk': False,
    'link_state': 'enable',
    'min_tx_rate': 50,
    'max_tx_rate': 200,
    'mtu': 1400,
    'vlan_qos': 3,
}
"""Of the first of ``subnet_ids``, which is on a VLAN and has a larger MTU."""


class Policies(ProviderFixtures):
    """What a driver does with the fields of ``policy_fields``.

    The library refuses requests that say anything of another field.
    """

    @pytest.fixture
    def ask_for(
        self,
        driver: base.PodVIFDriver,
        requests: Sequence[model.NetworkRequest],
    ) -> AskFor:
        """Makes a request whose NAD says that; skips what is not claimed."""

        def ask_for(**said: Any) -> model.NetworkRequest:
            others = set(said) - driver.policy_fields
            if others:
                pytest.skip(f'it does not claim to do {", ".join(others)}')
            policy = model.Policy(**said)
            return dataclasses.replace(requests[0], policy=policy)

        return ask_for

    @pytest.mark.parametrize('field', SETTINGS)
    def test_a_setting_of_the_nad_is_honoured_or_refused(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        ask_for: AskFor,
        location: Locate,
        field: str,
    ) -> None:
        """A limit that is silently not there is found by the neighbours."""
        request = ask_for(**{field: SETTINGS[field]})
        with contextlib.suppress(exceptions.ProviderRefused):
            (vif,) = driver.request_vifs(pod, [request])
            assert getattr(vif, field) == SETTINGS[field]
            assert vif.policy == request.policy
            active = driver.activate_vif(pod, vif, location(vif))
            assert inactive(active) == vif

    @pytest.mark.parametrize('field', ['security_groups', 'qos_policy'])
    def test_what_a_nad_names_and_is_not_there_is_refused(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        ask_for: AskFor,
        unknown_subnet: str,
        field: str,
    ) -> None:
        """Else the pod would be open to all whom its group keeps out."""
        many = field == 'security_groups'
        said = (unknown_subnet,) if many else unknown_subnet
        with pytest.raises(exceptions.ProviderRefused, match=unknown_subnet):
            driver.request_vifs(pod, [ask_for(**{field: said})])

    def test_without_port_security_nobody_checks_for_spoofing(
        self, driver: base.PodVIFDriver, pod: model.Pod, ask_for: AskFor
    ) -> None:
        """A router in a pod sends for others; the NIC would drop that."""
        (vif,) = driver.request_vifs(pod, [ask_for(port_security=False)])
        assert vif.spoofchk is False

    def test_a_vif_is_active_in_time_or_the_activation_fails(
        self,
        driver: base.PodVIFDriver,
        pod: model.Pod,
        ask_for: AskFor,
        location: Locate,
    ) -> None:
        """The author wants to hear of a pod that nobody reaches."""
        (vif,) = driver.request_vifs(pod, [ask_for(active_timeout=0.1)])
        with contextlib.suppress(exceptions.TransientError):
            assert driver.activate_vif(pod, vif, location(vif)).active
