# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov repair`` lists what is stuck, and mends one record."""

import contextlib
import json
import sqlite3
from dataclasses import replace

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.cmd import arguments
from kuryr_sriov.cmd.main import main
from kuryr_sriov.config import loading
from kuryr_sriov.host import ledger_reader
from kuryr_sriov.host.locks import PfLocks
from kuryr_sriov.node import Node
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode

PF, VF = '0000:02:00.0', '0000:02:10.0'
NETNS = '/run/netns/pod'


class Place:
    """A node with one VF in a pod, and nobody who serves it."""

    def __init__(self, folder):
        self.node = SimulatedNode(folder / 'node', [Pf(PF, 'ens6', vfs=2)])
        self.before = self.node.state()
        self.state = folder / 'state'
        self.file = folder / 'kuryr.conf'
        self.file.write_text(
            f'[sriov]\nstate_dir = {self.state}\npf_lock_timeout = 0.1\n'
            'resource_driver_mappings = physnet22:netdevice\n'
        )
        pod = model.Pod('default', 'web', 'uid-1')
        sandbox = model.Sandbox('c0ffee', self.node.add_netns(NETNS), pod)
        vif = model.Vif(
            'port-1',
            'net1',
            'default/n',
            'intel.com/physnet22',
            'physnet22',
            'fa:16:3e:00:00:01',
            vlan=7,
        )
        conf = loading.load_config(files=[str(self.file)])
        device = model.Device('intel.com/physnet22', VF)
        with Node(conf, host=self.node.host) as daemon:
            daemon.attach(sandbox, [vif], [device])

    def records(self):
        return ledger_reader.read_attachments(str(self.state))

    def owe(self, why):
        """As a DEL leaves it that could not restore everything."""
        conf = loading.load_config(files=[str(self.file)])
        with Node(conf, host=self.node.host) as daemon:
            daemon.ledger.save([replace(r, owed=why) for r in self.records()])


@pytest.fixture
def place(tmp_path, monkeypatch):
    place = Place(tmp_path)
    monkeypatch.setattr(arguments, 'make_host', lambda args: place.node.host)
    yield place
    place.node.close()


@pytest.fixture
def repair(place, capsys):
    """Runs it; exit status and what it printed."""

    def run(*words):
        status = main(['repair', *words, f'--config-file={place.file}'])
        return status, ' '.join(capsys.readouterr().out.split())

    return run


def test_a_running_pod_is_not_stuck(repair):
    assert repair() == (0, 'Nothing is owed or stuck; records: 1.')


def test_what_is_stuck_is_listed_with_what_can_be_done(place, repair):
    place.node.delete_netns(NETNS)
    status, printed = repair()
    assert status == 1
    for words in (
        'Owed or stuck: 1 of 1 records; unreadable: 0.',
        f'VF {VF}, net1 of pod default/web, sandbox c0ffee: there is no '
        f'network namespace {NETNS}.',
        f'# kuryr-sriov repair retry {VF}',
        f'# kuryr-sriov repair reset {VF}',
        f'# kuryr-sriov repair forget {VF}',
    ):
        assert words in printed


def test_what_is_owed_is_listed_with_its_reason(place, repair):
    place.owe('the rate waits for the link')
    status, printed = repair()
    assert status == 1
    assert 'owed: the rate waits for the link' in printed


def test_programs_get_the_records(place, repair):
    place.node.delete_netns(NETNS)
    status, printed = repair('--json')
    (stuck,) = json.loads(printed)['stuck']
    assert status == 1
    assert stuck['record']['pci'] == VF
    assert 'no network namespace' in stuck['why']


@pytest.mark.parametrize('action', ['retry', 'reset', 'forget'])
def test_an_action_is_explained_before_it_is_done(place, repair, action):
    state, records = place.node.state(), place.records()
    status, printed = repair(action, VF)
    assert status == 1
    assert f'VF {VF}, net1 of pod default/web: ' in printed
    assert 'NOTHING IS WRONG WITH THIS RECORD' in printed
    assert 'Nothing was done. Add --yes' in printed
    assert place.node.state() == state
    assert place.records() == records


@pytest.mark.parametrize('action', ['retry', 'reset'])
def test_a_vf_is_given_back_from_its_record(place, repair, action):
    place.node.delete_netns(NETNS)
    status, printed = repair(action, VF, '--yes')
    assert status == 0
    assert 'is not on record any more' in printed
    assert 'NOTHING IS WRONG' not in printed
    assert place.node.state() == place.before
    assert place.records() == ()


def test_a_reset_comes_before_the_rest(place, repair):
    changes = []
    place.node.on_change(changes.append)
    assert repair('reset', VF, '--yes')[0] == 0
    assert changes[0] == 'reset'


def test_a_function_that_cannot_be_reset_is_told(place, repair, monkeypatch):
    pci = place.node.host.pci
    monkeypatch.setattr(pci, 'reset', lambda *arguments: False)
    assert repair('reset', VF, '--yes')[0] == 1
    assert len(place.records()) == 1


def test_forgetting_changes_the_ledger_and_nothing_else(place, repair):
    state = place.node.state()
    assert repair('forget', VF, '--yes')[0] == 0
    assert place.records() == ()
    assert place.node.state() == state


@pytest.mark.parametrize('action', ['reset', 'forget'])
def test_a_vf_that_a_daemon_is_at_is_left_alone(place, repair, action, capsys):
    with PfLocks(place.state / 'locks', 0).hold([PF]):
        assert (
            main(
                ['repair', action, VF, '--yes', f'--config-file={place.file}']
            )
            == 1
        )
    assert PF in capsys.readouterr().err
    assert len(place.records()) == 1


@pytest.mark.parametrize('words', [['retry'], ['retry', '0000:02:10.2']])
def test_a_vf_without_a_record_is_an_error(place, capsys, words):
    assert main(['repair', *words, f'--config-file={place.file}']) == 1
    assert 'no record has VF' in capsys.readouterr().err


def test_what_still_fails_stays_on_record(place, repair, monkeypatch):
    def fail(node, container_id, ifname):
        raise exceptions.DeviceBusy('still in use')

    monkeypatch.setattr(Node, 'detach', fail)
    assert repair('retry', VF, '--yes')[0] == 1
    assert len(place.records()) == 1


@pytest.fixture
def unreadable(place):
    """The record is damaged, as by a disk."""
    with (
        contextlib.closing(
            sqlite3.connect(place.state / 'ledger.sqlite')
        ) as file,
        file,
    ):
        file.execute("UPDATE attachment SET record = '{'")


@pytest.mark.usefixtures('unreadable')
def test_a_record_that_cannot_be_read_is_listed(repair):
    status, printed = repair()
    assert status == 1
    assert 'unreadable: 1' in printed
    assert f'VF {VF}, net1 of sandbox c0ffee: the record cannot' in printed


@pytest.mark.usefixtures('unreadable')
def test_a_record_that_cannot_be_read_can_be_forgotten_only(
    place, repair, capsys
):
    assert main(['repair', 'retry', VF, f'--config-file={place.file}']) == 1
    assert 'cannot be read' in capsys.readouterr().err
    assert repair('forget', VF)[0] == 1
    status, printed = repair('forget', VF, '--yes')
    assert (status, f'{VF} is free' in printed) == (0, True)
    assert repair() == (0, 'Nothing is owed or stuck; records: 0.')
