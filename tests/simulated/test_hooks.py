# SPDX-License-Identifier: Apache-2.0
"""Hooks that others add: run after connect, undone before disconnect."""

import contextlib
import sys
import threading
import time
from concurrent import futures

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.binding.netdevice import NetdeviceDriver

HOOKS = 'attachment_hooks = mark,count\n'
SOURCE = """
from kuryr_sriov.exceptions import PermanentError
from kuryr_sriov.handlers.hooks import AttachmentHook

LOG = []
FAIL = set()

class Mark(AttachmentHook):
    contract = 1

    def run(self, attachment):
        self.note('run', attachment)

    def undo(self, attachment):
        self.note('undo', attachment)

    def note(self, what, attachment):
        netns = attachment.sandbox.netns
        inside = self.host.links.find(attachment.pci, netns) is not None
        LOG.append((what, self.name, attachment.vif.ifname, inside))
        if (what, self.name) in FAIL:
            raise PermanentError(f'{what} {self.name}')
"""
RUN = [('run', 'mark', 'net2', True), ('run', 'count', 'net2', True)]
UNDONE = [('undo', 'count', 'net2', True), ('undo', 'mark', 'net2', True)]


@pytest.fixture
def vendor(tmp_path, monkeypatch):
    """A vendor's distribution with two hooks, one class."""
    info = tmp_path / 'site' / 'vendor_hooks-1.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text('Name: vendor-hooks\nVersion: 1\n')
    (info / 'entry_points.txt').write_text(
        '[kuryr_sriov.attachment_hooks]\n'
        'mark = vendor_hooks:Mark\ncount = vendor_hooks:Mark\n'
        'bare = vendor_hooks:AttachmentHook\n'
    )
    (info.parent / 'vendor_hooks.py').write_text(SOURCE)
    monkeypatch.syspath_prepend(info.parent)
    import vendor_hooks

    yield vendor_hooks
    del sys.modules['vendor_hooks']


@pytest.fixture
def before(world, vendor):
    world.text += HOOKS
    return world.node.state()


@pytest.fixture
def attach(world, before):
    """A node, and a way to attach one netdevice VIF on it."""
    node = world.start()

    def attach():
        sandbox = world.sandbox(1, world.vf(1, 0))
        node.attach(sandbox, [world.vif('net2', 1)])

    attach.node = node
    return attach


def test_hooks_run_in_order_on_a_connected_vf(attach, vendor):
    attach()
    assert vendor.LOG == RUN


def test_detach_undoes_them_in_reverse_before_the_vf_leaves(
    attach, vendor, world, before
):
    attach()
    vendor.LOG.clear()
    attach.node.detach('sandbox1-1')
    assert vendor.LOG == UNDONE
    assert world.node.state() == before


def test_a_hook_that_fails_leaves_no_trace_of_the_attach(
    attach, vendor, world, before
):
    vendor.FAIL.add(('run', 'count'))
    with pytest.raises(exceptions.PermanentError, match='run count'):
        attach()
    assert vendor.LOG == RUN + UNDONE
    assert world.node.state() == before
    assert attach.node.ledger.all() == ()


def test_a_hook_that_cannot_be_undone_keeps_the_record(
    attach, vendor, world, before
):
    attach()
    vendor.FAIL.add(('undo', 'mark'))
    with pytest.raises(exceptions.PermanentError, match='undo mark'):
        attach.node.detach('sandbox1-1')
    assert len(attach.node.ledger.all()) == 1
    vendor.FAIL.clear()
    attach.node.detach('sandbox1-1')
    assert world.node.state() == before


def test_after_a_crash_the_next_process_undoes_them(world, vendor, before):
    """Killed while the second hook runs."""

    class Killed(BaseException):
        pass

    def observe(hook):
        if hook == 'count':
            raise Killed

    sandbox = world.sandbox(1, world.vf(1, 0))
    with contextlib.suppress(Killed):
        world.start(observe_beginnings=observe).attach(
            sandbox, [world.vif('net2', 1)]
        )
    vendor.LOG.clear()
    world.start().reconcile()
    assert vendor.LOG == UNDONE
    assert world.node.state() == before


def test_an_observer_is_told_their_names(world, vendor, before):
    seen = []
    node = world.start(observe_beginnings=seen.append)
    node.attach(world.sandbox(1, world.vf(1, 0)), [world.vif('net2', 1)])
    node.detach('sandbox1-1')
    start = seen.index('connect')
    assert seen[start + 1 : start + 3] == ['mark', 'count']
    assert seen[-4:] == ['restore', 'undo-count', 'undo-mark', 'forget']


def test_a_hook_that_breaks_the_contract_is_named_at_start(world, vendor):
    world.text += 'attachment_hooks = bare\n'
    with pytest.raises(exceptions.PluginError) as error:
        world.start()
    assert str(error.value) == (
        "hook 'bare' in kuryr_sriov.attachment_hooks "
        '(vendor_hooks:AttachmentHook, of vendor-hooks 1) lacks what '
        'kuryr_sriov.handlers.hooks.AttachmentHook requires: run, undo; '
        'implement it.'
    )


def test_a_drivers_own_methods_are_called_beside_hooks(world, vendor, before):
    """Also those that a contract got after the driver was written.

    Nothing is wrapped around a driver that could swallow one.
    """
    node = world.start()
    node.attach(world.sandbox(1, world.vf(1, 0)), [world.vif('net2', 1)])
    called = []

    class Later(NetdeviceDriver):
        def announce(self, attachment):
            called.append('announce')

        def migrate(self, attachment):
            called.append('migrate')

    driver = node.binding_driver('netdevice')
    driver.__class__ = Later
    node.announce('sandbox1-1')
    node.binding_driver('netdevice').migrate(None)
    assert called == ['announce', 'migrate']


def test_threads_that_need_a_driver_first_share_it(world, monkeypatch):
    node = world.start()
    together = threading.Barrier(4)
    made = NetdeviceDriver.__init__

    def slow(driver, *arguments):
        time.sleep(0.05)
        made(driver, *arguments)

    monkeypatch.setattr(NetdeviceDriver, '__init__', slow)

    def first_use(_):
        together.wait()
        return node.binding_driver('netdevice')

    with futures.ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(first_use, range(4)))) == 1
