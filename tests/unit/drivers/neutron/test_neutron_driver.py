# SPDX-License-Identifier: Apache-2.0
"""The VIF driver ``neutron``: which ports it makes, keeps and deletes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from neutronports import POD, REQUEST, SUBNET, Client, make_conf, port_of

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients import neutron
from kuryr_sriov.drivers.neutron import NeutronVIFDriver, lookups

SLOT = '0000:02:10.0'
CONF = make_conf(resource_tags=('ours',))
AWAY = exceptions.ProviderUnavailable('away')


class Cloud:
    """A driver, and the client by which it asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client = Client()
        monkeypatch.setattr(neutron, 'NeutronClient', lambda conf: self.client)
        self.driver = NeutronVIFDriver(CONF, 'blue')
        monkeypatch.setattr(
            self.driver._lookups, 'subnet', lambda id: SUBNET, raising=True
        )
        monkeypatch.setattr(
            self.driver._lookups, 'rates', lambda id: lookups.Rates()
        )

    def begin(self, *ports: Any) -> None:
        """Neutron has these; the driver has read them, and is sure of it."""
        self.client.answers['list_ports'] = [[*ports]]
        self.driver._store.load()
        self.driver._store.known._settled_at = 0.0
        self.client.calls.clear()

    def methods(self) -> list[str]:
        return [call[0] for call in self.client.calls]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    return Cloud(monkeypatch)


TAGS = ['ours', 'kuryr-sriov-cluster=blue']


def test_it_belongs_to_the_cluster_that_it_was_made_for(cloud: Cloud) -> None:
    assert cloud.driver.conf is CONF
    assert cloud.driver.cluster == 'blue'


@pytest.mark.parametrize('call', ['request', 'activate', 'release'])
def test_whatever_is_done_first_reads_the_ports_of_the_cluster(
    cloud: Cloud, call: str
) -> None:
    cloud.client.answers['list_ports'] = [AWAY]
    place = model.Location('node-1', SLOT, '8086:10ca', 'physnet22')
    vif = model.Vif('p1', 'net1', 'default/nad', 'r', 'physnet22', '')
    driver = cloud.driver
    act = {
        'request': lambda: driver.request_vifs(POD, [REQUEST]),
        'activate': lambda: driver.activate_vif(POD, vif, place),
        'release': lambda: driver.release_vifs(POD),
    }[call]
    with pytest.raises(exceptions.ProviderUnavailable, match='away'):
        act()
    assert cloud.methods() == ['list_ports']


@pytest.mark.parametrize('settled', [True, False])
def test_what_a_pod_has_is_kept_and_costs_nothing(
    cloud: Cloud, settled: bool
) -> None:
    cloud.begin(port_of('p1', tags=TAGS))
    if not settled:
        cloud.driver._store.known._settled_at = float('inf')
    (vif,) = cloud.driver.request_vifs(POD, [REQUEST])
    assert (vif.id, vif.ifname, vif.addresses) == (
        *('p1', 'net1'),
        ('10.0.0.7/16',),
    )
    assert cloud.methods() == []


def test_what_a_pod_lacks_is_made(cloud: Cloud) -> None:
    cloud.begin()
    cloud.client.answers['create_ports'] = [[port_of('p1', tags=TAGS)]]
    (vif,) = cloud.driver.request_vifs(POD, [REQUEST])
    assert vif.id == 'p1'
    assert cloud.methods() == ['create_ports']


def test_a_port_of_which_no_vif_can_be_made_is_undone(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(id: str) -> None:
        raise exceptions.ProviderRefused('no such policy')

    monkeypatch.setattr(cloud.driver._lookups, 'rates', fail)
    cloud.begin()
    cloud.client.answers['create_ports'] = [[port_of('p1', tags=TAGS)]]
    with pytest.raises(exceptions.ProviderRefused, match='no such policy'):
        cloud.driver.request_vifs(POD, [REQUEST])
    assert cloud.methods() == ['create_ports', 'get', 'delete_port']


def test_what_a_refused_request_was_made_from_is_looked_up_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[str] = []
    monkeypatch.setattr(cloud.driver._lookups, 'forget', forgotten.extend)
    cloud.begin()
    cloud.client.answers['create_ports'] = [
        neutron.NeutronRefused('no', 'SubnetNotFound', 404)
    ]
    with pytest.raises(neutron.NeutronRefused):
        cloud.driver.request_vifs(POD, [REQUEST])
    assert forgotten == ['sub-1']


@pytest.mark.parametrize('placed', [True, False])
def test_a_port_that_the_pod_does_not_ask_for_goes_unless_it_is_in_use(
    cloud: Cloud, placed: bool
) -> None:
    other = port_of('p2', slot=SLOT if placed else '', tags=TAGS)
    other['name'] = 'default/web/net9'
    kept = port_of('p1', tags=TAGS)
    cloud.begin(kept, other)
    cloud.client.answers['list_ports'] = [[kept, other]]
    if placed:
        with pytest.raises(
            exceptions.ProviderRefused, match=f'net9 has port p2 .*{SLOT}'
        ):
            cloud.driver.request_vifs(POD, [REQUEST])
        assert cloud.methods() == ['list_ports']
        return
    (vif,) = cloud.driver.request_vifs(POD, [REQUEST])
    assert vif.id == 'p1'
    assert cloud.client.calls[1:] == [('delete_port', 'p2', 1)]


def test_a_pod_on_no_node_yet_has_to_wait(cloud: Cloud) -> None:
    pod = dataclasses.replace(POD, node='')
    with pytest.raises(exceptions.TransientError, match='is on no node yet'):
        cloud.driver.request_vifs(pod, [REQUEST])


def test_a_release_tries_all_ports_before_it_fails(cloud: Cloud) -> None:
    cloud.begin(port_of('p1'), port_of('p2'))
    cloud.client.answers['delete_port'] = [AWAY]
    with pytest.raises(exceptions.ProviderUnavailable, match='away'):
        cloud.driver.release_vifs(POD)
    assert cloud.methods() == ['delete_port', 'delete_port']
    cloud.driver.release_vifs(POD)
    assert len(cloud.client.calls) == 3


def test_a_release_looks_for_ports_that_may_not_be_known(
    cloud: Cloud,
) -> None:
    cloud.begin()
    cloud.driver._store.known.doubt(POD.uid)
    cloud.client.answers['list_ports'] = [[port_of('p1')]]
    cloud.driver.release_vifs(POD)
    assert cloud.methods() == ['list_ports', 'delete_port']


def test_a_listing_tells_how_old_and_how_much_in_use_a_port_is(
    cloud: Cloud,
) -> None:
    first = port_of('p1', slot=SLOT, status='ACTIVE')
    second = port_of('p2', created_at=None)
    cloud.client.answers['list_ports'] = [[first, second]]
    one, two = cloud.driver.list_vifs()
    assert (one.vif.id, one.age, one.placed, one.in_use) == (
        *('p1', 86400, True, True),
    )
    assert (two.vif.id, two.age, two.placed, two.in_use) == (
        *('p2', 0, False, False),
    )
    assert one.pod == POD
    assert (one.vif.physnet, one.vif.addresses) == (
        *('physnet22', ('10.0.0.7/16',)),
    )


@pytest.mark.parametrize(
    ('now', 'error'),
    [
        (port_of('p1'), None),
        (port_of('p1', description='of a VM'), exceptions.ProviderRefused),
        (port_of('p1', device_id='other'), exceptions.ProviderRefused),
        (port_of('p1', status='ACTIVE'), exceptions.ProviderUnavailable),
        (port_of('p1', slot=SLOT), exceptions.ProviderUnavailable),
    ],
)
def test_an_orphan_is_deleted_only_as_it_was_listed(
    cloud: Cloud, now: Any, error: Any
) -> None:
    cloud.client.answers['list_ports'] = [[port_of('p1')]]
    (owned,) = cloud.driver.list_vifs()
    cloud.client.answers['get'] = [now]
    if error is None:
        cloud.driver.release_vif(owned)
        assert cloud.client.calls[-1] == ('delete_port', 'p1', 1)
        return
    with pytest.raises(error):
        cloud.driver.release_vif(owned)
    assert cloud.methods()[-1] == 'get'


def test_an_orphan_that_was_on_a_vf_when_it_was_listed_may_go(
    cloud: Cloud,
) -> None:
    placed = port_of('p1', slot=SLOT)
    cloud.client.answers['list_ports'] = [[placed]]
    (owned,) = cloud.driver.list_vifs()
    cloud.client.answers['get'] = [
        placed,
        neutron.NeutronRefused('gone', 'PortNotFound', 404),
    ]
    cloud.driver.release_vif(owned)
    cloud.driver.release_vif(owned)
    assert cloud.methods() == ['list_ports', 'get', 'delete_port', 'get']


def test_who_begins_to_lead_reads_the_ports_again(cloud: Cloud) -> None:
    cloud.begin(port_of('p1', tags=TAGS))
    cloud.driver.forget_all()
    cloud.client.answers['list_ports'] = [[], []]
    cloud.driver.release_vifs(POD)
    assert cloud.methods()[0] == 'list_ports'


def test_a_subnet_that_neutron_added_by_itself_is_looked_up(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLAAC: its addresses come unasked."""
    slaac = model.Subnet('sub-6', 'red', 'physnet22', 'fd00::/64')
    asked: list[str] = []

    def subnet(id: str) -> model.Subnet:
        asked.append(id)
        return slaac

    monkeypatch.setattr(cloud.driver._lookups, 'subnet', subnet)
    both = [
        {'subnet_id': 'sub-1', 'ip_address': '10.0.0.7'},
        {'subnet_id': 'sub-6', 'ip_address': 'fd00::7'},
    ]
    cloud.begin(port_of('p1', tags=TAGS, fixed_ips=both))
    (vif,) = cloud.driver.request_vifs(POD, [REQUEST])
    assert vif.addresses == ('10.0.0.7/16', 'fd00::7/64')
    assert asked == ['sub-6']
