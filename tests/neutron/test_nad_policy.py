# SPDX-License-Identifier: Apache-2.0
"""What a NAD says reaches the port; Neutron's answer counts more."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from neutronlab.kuryr import MakeDriver, location, request
from neutronlab.lab import Lab

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.neutron import NeutronVIFDriver
from kuryr_sriov.npwg.annotation import Selection
from kuryr_sriov.npwg.nad_policy import KEYS
from kuryr_sriov.npwg.requests import request_of

Ask = Callable[..., model.NetworkRequest]
NOWHERE = '00000000-0000-4000-8000-00000000dead'


def policy_of(keys: dict[str, Any]) -> model.Policy | None:
    """As it is read from a NAD with these keys."""
    config = json.dumps({'driverType': 'sriov', **keys})
    annotations = {'openstack.org/kuryr-config': config}
    nad = {'metadata': {'annotations': annotations}}
    found = request_of(Selection('default', 'sriov', 'net1'), nad)
    assert found is not None
    return found.policy


@pytest.fixture
def ask(driver: NeutronVIFDriver, lab: Lab) -> Ask:
    """Makes a request of a NAD with these keys."""

    def ask(**keys: Any) -> model.NetworkRequest:
        asked = request(driver, lab.net22)
        return dataclasses.replace(asked, policy=policy_of(keys))

    return ask


@pytest.fixture
def group(lab: Lab) -> Iterator[str]:
    """A security group of the project of the ports."""
    cloud = lab.keystone.connect('kuryr', 'k8s')
    made = cloud.network.create_security_group(name='of-a-nad')
    yield made.id
    for port in lab.admin.network.ports():
        lab.admin.network.delete_port(port.id)
    lab.admin.network.delete_security_group(made.id)


@pytest.fixture
def slow(admin: Any) -> Iterator[str]:
    """A QoS policy that is shared: 200 Mbit/s at most."""
    made = admin.network.create_qos_policy(name='slow', is_shared=True)
    admin.network.create_qos_bandwidth_limit_rule(
        made.id, max_kbps=200_000, direction='egress'
    )
    yield made.id
    for port in admin.network.ports():
        admin.network.delete_port(port.id)
    admin.network.delete_qos_policy(made.id)


def test_security_groups(
    driver: NeutronVIFDriver, pod: model.Pod, ask: Ask, admin: Any, group: str
) -> None:
    (vif,) = driver.request_vifs(pod, [ask(securityGroupIds=[group])])

    port = admin.network.get_port(vif.id)
    assert port.security_group_ids == [group]
    assert vif.spoofchk is True


def test_no_security_group_at_all(
    driver: NeutronVIFDriver, pod: model.Pod, ask: Ask, admin: Any
) -> None:
    (vif,) = driver.request_vifs(pod, [ask(securityGroupIds=[])])

    port = admin.network.get_port(vif.id)
    assert port.security_group_ids == []
    assert port.is_port_security_enabled is True


@pytest.mark.parametrize('key', ['portSecurity', 'spoofchk'])
@pytest.mark.parametrize('said', [True, False])
def test_port_security_and_the_spoof_check_are_one(
    driver: NeutronVIFDriver,
    pod: model.Pod,
    ask: Ask,
    admin: Any,
    key: str,
    said: bool,
) -> None:
    (vif,) = driver.request_vifs(pod, [ask(**{key: said})])

    port = admin.network.get_port(vif.id)
    assert port.is_port_security_enabled is said
    assert vif.spoofchk is said
    assert bool(port.security_group_ids) is said


def test_qos_policy_and_its_rates(
    driver: NeutronVIFDriver, pod: model.Pod, ask: Ask, admin: Any, slow: str
) -> None:
    asked = ask(qosPolicyId=slow, minTxRate=50, maxTxRate=1000)

    (vif,) = driver.request_vifs(pod, [asked])

    assert admin.network.get_port(vif.id).qos_policy_id == slow
    # Neutron says the one, the NAD the other
    assert (vif.min_tx_rate, vif.max_tx_rate) == (50, 200)


def test_a_rate_above_the_policys_is_refused_and_leaves_no_port(
    driver: NeutronVIFDriver, pod: model.Pod, ask: Ask, admin: Any, slow: str
) -> None:
    with pytest.raises(exceptions.ProviderRefused, match='is 300 Mbit/s and'):
        driver.request_vifs(pod, [ask(qosPolicyId=slow, minTxRate=300)])

    assert list(admin.network.ports()) == []


@pytest.mark.parametrize('key', ['securityGroupIds', 'qosPolicyId'])
def test_what_neutron_does_not_know_is_refused(
    driver: NeutronVIFDriver, pod: model.Pod, ask: Ask, admin: Any, key: str
) -> None:
    value = [NOWHERE] if key == 'securityGroupIds' else NOWHERE

    with pytest.raises(exceptions.ProviderRefused) as caught:
        driver.request_vifs(pod, [ask(**{key: value})])

    assert NOWHERE in str(caught.value)
    assert 'network default/sriov-physnet22' in str(caught.value)
    assert list(admin.network.ports()) == []


def test_trusted(
    driver: NeutronVIFDriver, pod: model.Pod, ask: Ask, admin: Any
) -> None:
    (vif,) = driver.request_vifs(pod, [ask(trusted=True)])
    active = driver.activate_vif(pod, vif, location(vif))

    assert (vif.trust, active.trust) == (True, True)
    port = admin.network.get_port(vif.id)
    assert port.binding_profile['trusted'] == 'true'


def test_not_trusted_on_a_physnet_that_is(
    make: MakeDriver, pod: model.Pod, ask: Ask, admin: Any
) -> None:
    driver = make(trusted_physnets='physnet22')

    (vif,) = driver.request_vifs(pod, [ask(trusted=False)])
    active = driver.activate_vif(pod, vif, location(vif))

    assert (vif.trust, active.trust) == (False, False)
    assert 'trusted' not in admin.network.get_port(vif.id).binding_profile


@pytest.mark.parametrize(
    ('state', 'expected'),
    [
        ('auto', (True, True)),
        ('enable', (True, False)),
        ('disable', (False, None)),
    ],
)
def test_link_state(
    driver: NeutronVIFDriver,
    pod: model.Pod,
    ask: Ask,
    admin: Any,
    state: str,
    expected: tuple[bool, bool | None],
) -> None:
    (vif,) = driver.request_vifs(pod, [ask(linkState=state)])

    assert vif.link_state == state
    port = admin.network.get_port(vif.id)
    up, propagates = expected
    assert port.is_admin_state_up is up
    if propagates is not None:
        assert port.propagate_uplink_status is propagates


def test_mtu_priority_and_rates_without_a_word_of_neutron(
    driver: NeutronVIFDriver, pod: model.Pod, ask: Ask
) -> None:
    asked = ask(mtu=1400, vlanQos=5, minTxRate=50, maxTxRate=100)

    (vif,) = driver.request_vifs(pod, [asked])
    active = driver.activate_vif(pod, vif, location(vif))

    assert (vif.mtu, vif.vlan_qos) == (1400, 5)
    assert (vif.min_tx_rate, vif.max_tx_rate) == (50, 100)
    assert dataclasses.replace(active, active=False) == vif


def test_a_port_that_is_not_active_in_time_is_told(
    driver: NeutronVIFDriver, pod: model.Pod, ask: Ask
) -> None:
    """No agent sees a VF of that MAC: none is in use."""
    (vif,) = driver.request_vifs(pod, [ask(activeTimeout=0.5)])

    with pytest.raises(exceptions.ProviderUnavailable) as caught:
        driver.activate_vif(pod, vif, location(vif))

    assert 'is still not ACTIVE after 0.5 s: host node-1' in str(caught.value)


def test_a_port_that_is_active_in_time(
    driver: NeutronVIFDriver, pod: model.Pod, ask: Ask, lab: Lab
) -> None:
    (vif,) = driver.request_vifs(pod, [ask(activeTimeout=60)])
    where = location(vif)
    used = {'mac': vif.mac, 'pci_slot': where.pci_slot}
    lab.neutron.set_vfs({'node-1': [used]})

    assert driver.activate_vif(pod, vif, where).active


def test_all_keys_at_once(
    driver: NeutronVIFDriver,
    pod: model.Pod,
    ask: Ask,
    lab: Lab,
    admin: Any,
    group: str,
    slow: str,
) -> None:
    """None is left out, here or there."""
    said = {
        'securityGroupIds': [group],
        'portSecurity': True,
        'spoofchk': True,
        'qosPolicyId': slow,
        'minTxRate': 50,
        'maxTxRate': 1000,
        'trusted': True,
        'linkState': 'enable',
        'mtu': 1400,
        'vlanQos': 5,
        'activeTimeout': 60,
    }
    assert said.keys() == KEYS.keys()
    (vif,) = driver.request_vifs(pod, [ask(**said)])
    where = location(vif)
    used = {'mac': vif.mac, 'pci_slot': where.pci_slot}
    lab.neutron.set_vfs({'node-1': [used]})
    active = driver.activate_vif(pod, vif, where)

    port = admin.network.get_port(vif.id)
    assert port.security_group_ids == [group]
    assert port.qos_policy_id == slow
    assert port.binding_profile['trusted'] == 'true'
    assert port.propagate_uplink_status is False
    assert port.status == 'ACTIVE'
    assert active == dataclasses.replace(
        vif,
        spoofchk=True,
        min_tx_rate=50,
        max_tx_rate=200,  # Neutron's
        trust=True,
        link_state='enable',
        mtu=1400,
        vlan_qos=5,
        active=True,
    )


def test_changes_of_a_port_in_neutron_are_seen(
    make: MakeDriver,
    pod: model.Pod,
    ask: Ask,
    admin: Any,
    slow: str,
) -> None:
    """QoS, admin state and port security; what the NAD said comes back."""
    driver = make(cache_ttl=0)
    (vif,) = driver.request_vifs(pod, [ask(maxTxRate=100)])
    driver.activate_vif(pod, vif, location(vif))

    def now() -> model.Vif:
        (found,) = driver.refresh_vifs([vif])
        return dataclasses.replace(found, active=False)

    assert now() == vif
    admin.network.update_port(
        vif.id,
        qos_policy_id=slow,
        admin_state_up=False,
        port_security_enabled=False,
        security_groups=[],
    )
    assert now() == dataclasses.replace(
        vif, max_tx_rate=200, link_state='disable', spoofchk=False
    )
    admin.network.update_port(
        vif.id,
        qos_policy_id=None,
        admin_state_up=True,
        port_security_enabled=True,
    )
    assert now() == vif


def test_a_namespace_of_another_project(
    make: MakeDriver, pod: model.Pod, lab: Lab, admin: Any
) -> None:
    """Its ports, its group; the group of our own project is no group there."""
    project = admin.identity.create_project(name='blue', domain_id='default')
    group = admin.network.create_security_group(
        name='of-blue', project_id=project.id
    )
    more = {'security_groups': NOWHERE}
    by_default = make(namespace_projects=f'blue:{project.id}', **more)
    by_name = make(
        namespace_projects=f'blue:{project.id}',
        namespace_security_groups=f'blue:{group.id}',
        **more,
    )
    blue = dataclasses.replace(pod, namespace='blue')
    other = dataclasses.replace(blue, uid='another')

    (one,) = by_default.request_vifs(blue, [request(by_default, lab.net22)])
    (two,) = by_name.request_vifs(other, [request(by_name, lab.net22)])

    first, second = (admin.network.get_port(vif.id) for vif in (one, two))
    assert first.project_id == second.project_id == project.id
    (default,) = first.security_group_ids
    found = admin.network.get_security_group(default)
    assert (found.name, found.project_id) == ('default', project.id)
    assert second.security_group_ids == [group.id]
    assert by_name.activate_vif(other, two, location(two)).id == two.id
    heir = make()
    listed = {owned.vif.id: owned.pod.uid for owned in heir.list_vifs()}
    assert listed == {one.id: blue.uid, two.id: other.uid}
    heir.release_vifs(blue)
    heir.release_vifs(other)
    assert list(admin.network.ports()) == []
    admin.network.delete_security_group(group.id)
    admin.identity.delete_project(project.id)
