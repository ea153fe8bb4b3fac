# SPDX-License-Identifier: Apache-2.0
"""What the library's controller asks of its drivers, and tells of it."""

import dataclasses

import pytest
from values import VIF

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.config import loading
from kuryr_sriov.controller import Controller
from kuryr_sriov.handlers.events import Event

POD = model.Pod('default', 'web', 'uid', 'vm-1')
PLACE = model.Location('vm-1', '0000:02:10.0', '8086:10ca', 'physnet22')
OPTIONS = """
[sriov]
vif_driver = local
node_vif_drivers = vm-*:guest
"""
BROKEN = exceptions.ProviderUnavailable('away')


class Driver:
    """One of two; it writes down what it is asked."""

    group = 'sriov'
    options = ()
    policy_fields = ()

    def __init__(self, name, asked):
        self.name, self.asked, self.error = name, asked, None

    def __getattr__(self, method):
        if method.startswith('__'):
            raise AttributeError(method)

        def ask(*arguments):
            self.asked.append((self.name, method, *arguments))
            if self.error:
                raise self.error
            return {'activate_vif': VIF}.get(method, (f'of {self.name}',))

        return ask


class World:
    def __init__(self, monkeypatch, path):
        self.asked, self.told, self.drivers = [], [], {}
        monkeypatch.setattr(plugins, 'load_plugin', self.load)
        path.write_text(OPTIONS)
        conf = loading.load_config(files=[str(path)])
        self.controller = Controller(
            conf, None, None, cluster_uid='cluster', observe=self.told.append
        )
        self.tell_call = self.drivers['local'].asked[0][2]
        self.asked.clear()

    def load(self, kind, name):
        def make(conf, what):
            if kind is not plugins.VIF_DRIVERS:
                return None
            assert what == 'cluster'
            self.drivers[name] = Driver(name, self.asked)
            return self.drivers[name]

        make.group, make.options = 'sriov', ()
        return make


@pytest.fixture
def world(monkeypatch, tmp_path):
    return World(monkeypatch, tmp_path / 'kuryr.conf')


def test_a_driver_tells_its_calls_to_the_observer(world):
    world.tell_call('POST ports', 0.5, None)
    world.tell_call('GET ports', 0.2, BROKEN)
    assert world.told == [
        Event('POST ports', 'done', 'provider', seconds=0.5),
        Event('GET ports', 'failed', 'provider', seconds=0.2, error=BROKEN),
    ]


def test_who_begins_to_lead_has_every_driver_forget(world):
    world.controller.gain_leadership()
    assert world.asked == [('local', 'forget_all'), ('guest', 'forget_all')]


def test_a_vif_is_activated_by_the_driver_of_its_node_and_told(world):
    assert world.controller.activate(POD, VIF, PLACE) == VIF
    assert world.asked == [('guest', 'activate_vif', POD, VIF, PLACE)]
    about = {
        'pod': POD,
        'ifname': 'net1',
        'pci': '0000:02:10.0',
        'vif_id': VIF.id,
    }
    begun, done = world.told
    assert begun == Event('activate', 'started', 'activate', **about)
    assert done == begun.become('done', seconds=done.seconds)


@pytest.mark.parametrize('wait', [True, False])
def test_a_driver_waits_for_traffic_only_where_the_host_lets_it(world, wait):
    policy = model.Policy(active_timeout=9)
    for vif in (VIF, dataclasses.replace(VIF, policy=policy)):
        world.asked.clear()
        active = world.controller.activate(POD, vif, PLACE, wait=wait)
        ((*_, told, _place),) = world.asked
        asked = told.policy and told.policy.active_timeout
        assert asked == (9 if vif.policy and wait else None)
        # what the VIF asks for is as it was
        assert active.policy == vif.policy


def test_a_release_asks_every_driver_and_is_told(world):
    world.controller.release(POD)
    assert world.asked == [
        ('local', 'release_vifs', POD),
        ('guest', 'release_vifs', POD),
    ]
    begun, done = world.told
    assert begun == Event('release', 'started', 'release', pod=POD)
    assert done == begun.become('done', seconds=done.seconds)


def test_a_release_that_fails_is_told_with_its_error(world):
    world.drivers['guest'].error = BROKEN
    with pytest.raises(exceptions.ProviderUnavailable):
        world.controller.release(POD)
    assert world.told[-1].phase == 'failed'
    assert world.told[-1].error is BROKEN


def test_what_every_driver_says_is_put_together(world):
    both = 'of local', 'of guest'
    assert world.controller.list_vifs() == both
    assert world.controller.refresh_vifs([VIF]) == both
    assert world.controller.find_active({VIF.id}) == {*both}
    assert world.asked == [
        *(('local', 'list_vifs'), ('guest', 'list_vifs')),
        ('local', 'refresh_vifs', [VIF]),
        ('guest', 'refresh_vifs', [VIF]),
        ('local', 'find_active', {VIF.id}),
        ('guest', 'find_active', {VIF.id}),
    ]
