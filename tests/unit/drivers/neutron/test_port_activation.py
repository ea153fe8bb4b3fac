# SPDX-License-Identifier: Apache-2.0
"""Where a port's VF is: what is verified, written, and waited for."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import pytest
from neutronports import DEFAULTS, POD, Client, port_of
from values import VIF

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients import neutron
from kuryr_sriov.drivers.neutron import activation, lookups
from kuryr_sriov.drivers.neutron.activation import Activation
from kuryr_sriov.drivers.neutron.port_store import PortStore

SLOT = '0000:02:10.0'
PLACE = model.Location('node-1', SLOT, '8086:10ca', 'physnet22')
PROMISED = dataclasses.replace(VIF, id='p1', active=False)


class World:
    """An activation, the client it uses, and what is known of ports."""

    def __init__(self) -> None:
        self.client = Client()
        self.store = PortStore(self.client, DEFAULTS)  # type: ignore[arg-type]
        self.store.known.put(self.client.parsed('p1'))
        looked_up = types.SimpleNamespace(rates=lambda id: lookups.Rates())
        self.activation = Activation(
            *(self.client, self.store, looked_up, DEFAULTS),  # type: ignore[arg-type]
        )

    def activate(
        self,
        vif: model.Vif = PROMISED,
        place: model.Location = PLACE,
        pod: model.Pod = POD,
    ) -> model.Vif:
        return self.activation.activate(pod, vif, place)

    def holder(self) -> str:
        """The port that has the VF, or whoever asks."""
        return self.store.known.claim('node-1', SLOT, 'nobody')


@pytest.fixture
def world() -> World:
    return World()


def test_the_place_is_written_and_the_port_is_known_as_it_is_then(
    world: World,
) -> None:
    placed = port_of('p1', slot=SLOT, status='ACTIVE')
    world.client.answers['update_port'] = [placed]
    assert world.activate().active
    ((method, port, changes),) = world.client.calls
    assert (method, port) == ('update_port', 'p1')
    profile = changes['binding:profile']
    assert profile['pci_slot'] == SLOT
    assert profile['physical_network'] == 'physnet22'
    known = world.store.known.get('p1')
    assert known is not None
    assert (known.pci_slot, known.active) == (SLOT, True)


@pytest.mark.parametrize('status', [404, 403])
def test_a_vf_is_free_again_where_neutron_refuses(
    world: World, status: int
) -> None:
    world.client.answers['update_port'] = [
        neutron.NeutronRefused('no', 'Error', status)
    ]
    with pytest.raises(
        neutron.NeutronRefused, match='port p1 of default/sriov-net1: no'
    ):
        world.activate()
    assert world.holder() == 'nobody'
    assert (world.store.known.get('p1') is None) is (status == 404)


@pytest.mark.parametrize(
    'answer',
    [
        port_of('p1', slot=SLOT, **{'binding:vif_type': 'binding_failed'}),
        port_of('p1', slot=SLOT, **{'binding:host_id': 'node-2'}),
    ],
)
def test_a_port_that_is_not_bound_there_is_an_error(
    world: World, answer: Any
) -> None:
    world.client.answers['list_agents'] = [{}]
    world.client.answers['update_port'] = [answer]
    with pytest.raises(
        exceptions.ProviderUnavailable, match="bind it to host 'node-1'"
    ):
        world.activate()


@pytest.mark.parametrize(
    ('more', 'match'),
    [
        (
            {'place': dataclasses.replace(PLACE, physical_network='other')},
            f'on physnet physnet22, but VF {SLOT} of node-1 is on other',
        ),
        (
            {'place': dataclasses.replace(PLACE, node='node-2')},
            "is bound to host 'node-1', but its VF is on 'node-2'",
        ),
        (
            {'pod': dataclasses.replace(POD, node='node-3')},
            "is bound to host 'node-3', but its VF is on 'node-1'",
        ),
        (
            {'pod': dataclasses.replace(POD, uid='another')},
            r'pod default/web \(uid another\), is not one that was made',
        ),
    ],
)
def test_a_report_that_does_not_fit_is_refused(
    world: World, more: Any, match: str
) -> None:
    with pytest.raises(exceptions.ProviderRefused, match=match):
        world.activate(**more)
    assert world.client.calls == []
    assert world.holder() == 'nobody'


def test_a_host_need_not_know_the_pods_node_nor_the_vifs_physnet(
    world: World,
) -> None:
    world.client.answers['update_port'] = [port_of('p1', slot=SLOT)]
    vif = dataclasses.replace(PROMISED, physnet='')
    world.activate(vif, pod=dataclasses.replace(POD, node=''))


def test_a_port_that_another_controller_made_is_read(world: World) -> None:
    world.store.known.drop('p1')
    world.client.answers['update_port'] = [port_of('p1', slot=SLOT)]
    world.activate()
    assert world.client.calls[0] == ('get', 'ports', 'port', 'p1')
    world.store.known.drop('p1')
    strange = port_of('p1', description='of a VM')
    gone = neutron.NeutronRefused('gone', 'PortNotFound', 404)
    world.client.answers['get'] = [strange, gone]
    with pytest.raises(exceptions.ProviderRefused, match='it is left alone'):
        world.activate()
    with pytest.raises(
        exceptions.ProviderRefused, match=r'is gone .*recreate pod default/web'
    ):
        world.activate()


@pytest.mark.parametrize(
    ('held', 'freed'), [(True, True), (True, False), (False, False)]
)
def test_a_vf_that_another_port_has_is_looked_at_once_more(
    world: World, held: bool, freed: bool
) -> None:
    """The other one is not asked for while it is being activated."""
    slot = SLOT if held else ''
    world.store.known.put(world.client.parsed('p9', slot=slot))
    assert world.store.known.claim('node-1', SLOT, 'p9') == 'p9'
    now = port_of('p9') if freed else port_of('p9', slot=SLOT)
    world.client.answers['get'] = [now, now]
    world.client.answers['update_port'] = [port_of('p1', slot=SLOT)]
    if freed:
        world.activate()
        assert world.holder() == 'p1'
        return
    with pytest.raises(
        exceptions.DeviceBusy, match=f'VF {SLOT} of node-1 is held by port p9'
    ):
        world.activate()
    reads = [call for call in world.client.calls if call[0] == 'get']
    assert len(reads) == (2 if held else 0)


def test_a_port_is_waited_for_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    clock = types.SimpleNamespace(
        monotonic=lambda: now[0],
        sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
    )
    monkeypatch.setattr(activation, 'time', clock)
    world = World()
    patient = model.Policy(active_timeout=1)
    vif = dataclasses.replace(PROMISED, policy=patient)
    down = port_of('p1', slot=SLOT)
    active = port_of('p1', slot=SLOT, status='ACTIVE')
    world.client.answers['update_port'] = [down] * 3
    world.client.answers['get'] = [down, active]
    assert world.activate(vif).active
    known = world.store.known.get('p1')
    assert known is not None
    assert known.active
    world.client.answers['get'] = [down] * 9
    with pytest.raises(
        exceptions.ProviderUnavailable, match='still not ACTIVE after 1 s'
    ):
        world.activate(vif)
    world.client.calls.clear()
    assert not world.activate().active
    assert [call[0] for call in world.client.calls] == ['update_port']
