# SPDX-License-Identifier: Apache-2.0
"""Attachment hooks with mistakes that are easily made."""

import mutants
import pytest
from mutants import caught_by

from kuryr_sriov import exceptions, model
from kuryr_sriov.handlers.hooks import AttachmentHook
from kuryr_sriov.testing.contracts.hook_contract import AttachmentHookContract

LIMIT = 5


class Sound(AttachmentHook):
    """Lets a VF do more, but slowly: two changes."""

    contract = 1

    def run(self, attachment):
        self.set(attachment.pci, trust=True)
        self.set(attachment.pci, max_tx_rate=LIMIT)

    def undo(self, attachment):
        settings = attachment.original.settings
        self.set(attachment.pci, trust=settings.trust)
        self.set(attachment.pci, max_tx_rate=settings.max_tx_rate)

    def get(self, pci):
        pf, number = self.place(pci)
        return self.host.links.pf(pf).vfs[number]

    def set(self, pci, **settings):
        if 'max_tx_rate' in settings:
            settings['min_tx_rate'] = 0
        change = model.VfSettings(**settings)
        self.host.links.set_vf(*self.place(pci), change)

    def place(self, pci):
        """Numbers of PF and VF."""
        device = self.host.pci.device(pci)
        return self.host.pci.device(device.pf).ifindex, device.vf_index


class Suite(AttachmentHookContract):
    hook_class = Sound

    @pytest.fixture
    def seen(self, node):
        return lambda: {
            pci: (state.settings.trust, state.settings.max_tx_rate)
            for pci, state in node.state().items()
            if state.settings
        }


@caught_by('test_the_library_would_load_it')
class StatesNoContract(AttachmentHook):
    run = Sound.run
    undo = Sound.undo


@caught_by('test_undo_takes_back_what_run_did')
class UndoesNothing(Sound):
    def undo(self, attachment):
        pass


@caught_by('test_undo_takes_back_what_run_did')
class DoesNothing(Sound):
    def run(self, attachment):
        pass


@caught_by('test_undo_may_be_repeated')
class UndoesOnce(Sound):
    def undo(self, attachment):
        if not self.get(attachment.pci).trust:
            raise exceptions.Drifted(f'{attachment.pci} is not trusted')
        super().undo(attachment)


@caught_by('test_undo_needs_no_run')
class ExpectsToHaveRun(Sound):
    def run(self, attachment):
        self.before = self.get(attachment.pci)
        super().run(attachment)

    def undo(self, attachment):
        self.set(attachment.pci, trust=self.before.trust)
        super().undo(attachment)


@caught_by('test_the_next_process_can_undo_it')
class RemembersInMemory(Sound):
    def run(self, attachment):
        super().run(attachment)
        self.has_run = True

    def undo(self, attachment):
        if hasattr(self, 'has_run'):
            super().undo(attachment)


@caught_by('test_undo_works_when_the_netns_is_gone')
class LooksIntoThePod(Sound):
    def undo(self, attachment):
        self.host.links.find(attachment.pci, attachment.sandbox.netns)
        super().undo(attachment)


@caught_by('test_it_can_be_run_again')
class RunsOnce(Sound):
    def run(self, attachment):
        if not hasattr(self, 'has_run'):
            super().run(attachment)
        self.has_run = True


@caught_by('test_undo_leaves_other_pods_alone')
class CleansUpTheWholePf(Sound):
    def undo(self, attachment):
        pf, _ = self.place(attachment.pci)
        for number in range(2):
            change = model.VfSettings(
                trust=False, min_tx_rate=0, max_tx_rate=0
            )
            self.host.links.set_vf(pf, number, change)


@caught_by('test_a_kill_at_any_change_to_the_node_can_be_undone')
class UndoesWhatIsComplete(Sound):
    def undo(self, attachment):
        if self.get(attachment.pci).max_tx_rate == LIMIT:
            super().undo(attachment)


globals().update(mutants.suites(globals(), Suite, attribute='hook_class'))
