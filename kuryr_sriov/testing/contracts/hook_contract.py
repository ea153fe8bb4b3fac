# SPDX-License-Identifier: Apache-2.0
"""The contract suite of attachment hooks.

Subclass ``AttachmentHookContract`` in a pytest module, say what the hook
changes, and pytest runs the suite on a simulated node::

    class TestMyHook(AttachmentHookContract):
        hook_class = MyHook

        @pytest.fixture
        def seen(self, tmp_path):
            return lambda: sorted(os.listdir(tmp_path))

A hook that changes nothing, and only refuses, has nothing to prove here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from kuryr_sriov import model, plugins
from kuryr_sriov.binding import base
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.handlers.hooks import AttachmentHook
from kuryr_sriov.testing.fixtures.interruption import InterruptedHost, Killed
from kuryr_sriov.testing.fixtures.node_fixtures import SimulatedNodeFixtures
from kuryr_sriov.testing.simulation.simulated_node import SimulatedNode

Seen = Callable[[], object]


class AttachmentHookContract(SimulatedNodeFixtures):
    """What every attachment hook has to do, and why.

    :cvar hook_class: the class under test.
    :cvar hook_name: entry-point name that it is chosen by.
    """

    driver_class = NetdeviceDriver
    hook_class: ClassVar[type[AttachmentHook]]
    hook_name: ClassVar[str] = 'hook'

    @pytest.fixture
    def seen(self) -> Seen:
        """All that the hook changes, in a form to be compared."""
        raise NotImplementedError('override the fixture seen')

    @pytest.fixture
    def hook_conf(self, conf: Any) -> Any:
        """The hook's section of kuryr.conf."""
        return conf

    @pytest.fixture
    def hook(self, host: base.Host, hook_conf: Any) -> AttachmentHook:
        """The hook under test."""
        return self.make_hook(host, hook_conf)

    @pytest.fixture
    def connected(
        self, driver: base.BindingDriver, attachment: model.Attachment
    ) -> model.Attachment:
        """An attachment whose VF is in its sandbox."""
        driver.connect(attachment)
        return attachment

    def make_hook(self, host: Any, hook_conf: Any) -> AttachmentHook:
        """The hook, as one more process of this node has it."""
        return self.hook_class(self.hook_name, host, hook_conf)

    def test_the_library_would_load_it(self) -> None:
        """Else the first who sees the refusal is an operator."""
        broken = plugins.find_breach(self.hook_class, plugins.ATTACHMENT_HOOKS)
        assert not broken, f'{self.hook_class.__qualname__} {broken}'

    def test_undo_takes_back_what_run_did(
        self, hook: AttachmentHook, connected: model.Attachment, seen: Seen
    ) -> None:
        """The next pod on this VF must not be taken for the last one."""
        before = seen()
        hook.run(connected)
        assert seen() != before
        hook.undo(connected)
        assert seen() == before

    def test_undo_may_be_repeated(
        self, hook: AttachmentHook, connected: model.Attachment, seen: Seen
    ) -> None:
        """Runtimes repeat DEL until it succeeds, and after."""
        before = seen()
        hook.run(connected)
        hook.undo(connected)
        hook.undo(connected)
        assert seen() == before

    def test_undo_needs_no_run(
        self, hook: AttachmentHook, attachment: model.Attachment, seen: Seen
    ) -> None:
        """The crash, or an error of ``connect``, may have come before."""
        before = seen()
        hook.undo(attachment)
        assert seen() == before

    def test_the_next_process_can_undo_it(
        self,
        hook: AttachmentHook,
        host: base.Host,
        hook_conf: Any,
        connected: model.Attachment,
        seen: Seen,
    ) -> None:
        """A daemon that was upgraded has forgotten all but the ledger."""
        before = seen()
        hook.run(connected)
        self.make_hook(host, hook_conf).undo(connected)
        assert seen() == before

    def test_undo_works_when_the_netns_is_gone(
        self,
        hook: AttachmentHook,
        connected: model.Attachment,
        delete_netns: Callable[[str], None],
        seen: Seen,
    ) -> None:
        """DEL comes late, or only GC does."""
        before = seen()
        hook.run(connected)
        delete_netns(connected.sandbox.netns)
        hook.undo(connected)
        assert seen() == before

    def test_it_can_be_run_again(
        self, hook: AttachmentHook, connected: model.Attachment, seen: Seen
    ) -> None:
        """ADD is repeated, and so is the use of a VF."""
        hook.run(connected)
        once = seen()
        hook.undo(connected)
        hook.run(connected)
        assert seen() == once

    def test_undo_leaves_other_pods_alone(
        self,
        hook: AttachmentHook,
        node: SimulatedNode,
        driver: base.BindingDriver,
        connected: model.Attachment,
        seen: Seen,
    ) -> None:
        """Whoever cleans up a whole folder cuts off a neighbour."""
        other = self.another(node, driver, connected)
        hook.run(connected)
        alone = seen()
        hook.run(other)
        hook.undo(other)
        driver.disconnect(other)
        assert seen() == alone

    def test_a_kill_at_any_change_to_the_node_can_be_undone(
        self,
        hook: AttachmentHook,
        host: base.Host,
        hook_conf: Any,
        connected: model.Attachment,
        seen: Seen,
    ) -> None:
        """Half a hook is on nobody's record but the attachment's."""
        before, allowed, completed = seen(), 0, False
        while not completed:
            interrupted = InterruptedHost(host, allowed)
            try:
                self.make_hook(interrupted, hook_conf).run(connected)
                completed = True
            except Killed:
                allowed += 1
            hook.undo(connected)
            assert seen() == before

    def another(
        self,
        node: SimulatedNode,
        driver: base.BindingDriver,
        attachment: model.Attachment,
    ) -> model.Attachment:
        """Another pod's attachment, connected, on the PF's second VF."""
        pci = node.vfs(attachment.pf)[1]
        other = dataclasses.replace(
            attachment,
            sandbox=model.Sandbox(
                'beef',
                node.add_netns('/run/netns/other'),
                model.Pod('default', 'other', 'uid-2'),
            ),
            vif=dataclasses.replace(
                attachment.vif, id='port-2', mac='fa:16:3e:aa:bb:02'
            ),
            pci=pci,
            original=driver.snapshot(pci),
        )
        driver.connect(other)
        return other
