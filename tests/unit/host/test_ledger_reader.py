# SPDX-License-Identifier: Apache-2.0
"""Those who only look at the ledger leave no trace, and wait for nobody."""

import contextlib
import dataclasses
import os
import sqlite3

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import ledger_reader
from kuryr_sriov.host.ledger import Ledger

RECORD = model.Attachment(
    sandbox=model.Sandbox(
        'c1', '/run/netns/a', model.Pod('default', 'nginx', 'uid-1')
    ),
    vif=model.Vif('id', 'net1', 'default/n', 'i.c/p22', 'p22', 'fa:16:3e:0'),
    pci='0000:02:10.0',
    driver='netdevice',
)


@pytest.fixture
def state(tmp_path):
    """A state_dir, in a folder that an address of a file must quote."""
    return tmp_path / 'a #1?' / 'state'


@pytest.fixture
def ledger(state):
    ledger = Ledger(state, boot_id='boot-1')
    ledger.save([RECORD])
    yield ledger
    ledger.close()


def test_records_of_a_ledger_that_nobody_uses(ledger, state):
    ledger.close()
    before = os.listdir(state)
    assert ledger_reader.read_attachments(str(state)) == (RECORD,)
    assert os.listdir(state) == before == ['ledger.sqlite']


def test_records_of_a_ledger_in_use(ledger, state):
    before = sorted(os.listdir(state))
    assert ledger_reader.read_attachments(str(state)) == (RECORD,)
    assert sorted(os.listdir(state)) == before
    assert len(before) == 3


def test_a_writer_is_not_waited_for(ledger, state):
    other = sqlite3.connect(ledger.path)
    other.execute('BEGIN IMMEDIATE')
    other.execute('DELETE FROM attachment')
    assert ledger_reader.read_attachments(str(state)) == (RECORD,)
    other.close()


def test_no_ledger_is_no_record_and_none_is_made(state):
    assert ledger_reader.read_attachments(str(state)) == ()
    assert not state.exists()


def test_an_empty_file_is_no_record_and_stays_empty(state):
    state.mkdir(parents=True)
    (state / 'ledger.sqlite').touch()
    assert ledger_reader.read_attachments(str(state)) == ()
    assert (state / 'ledger.sqlite').stat().st_size == 0


def test_another_schema_is_refused(ledger, state):
    ledger.close()
    other = sqlite3.connect(ledger.path)
    other.execute('PRAGMA user_version = 99')
    other.close()
    with pytest.raises(exceptions.LedgerError, match='schema 99'):
        ledger_reader.read_attachments(str(state))


def test_a_state_dir_that_is_a_file_is_named(tmp_path):
    (tmp_path / 'state').touch()
    with pytest.raises(exceptions.LedgerError, match='must be a directory'):
        ledger_reader.read_attachments(str(tmp_path / 'state'))


def test_a_record_that_cannot_be_read_is_told_beside_the_others(ledger, state):
    other = dataclasses.replace(RECORD, pci='0000:02:10.1')
    other = dataclasses.replace(
        other, vif=dataclasses.replace(RECORD.vif, ifname='net2')
    )
    ledger.save([other])
    ledger.close()
    with contextlib.closing(sqlite3.connect(ledger.path)) as connection:
        connection.execute(
            "UPDATE attachment SET record = '{}' WHERE ifname = 'net1'"
        )
        connection.commit()
    for boot_id in ('', 'boot-1'):
        assert ledger_reader.read_attachments(str(state)) == (other,)
        (aside,) = ledger_reader.read_set_aside(str(state))
        assert (aside.pci, aside.boot_id) == (RECORD.pci, boot_id)
        ledger.all()  # sets it aside
        ledger.close()


def test_a_file_of_schema_1_is_read_as_it_is(ledger, state):
    ledger.close()
    with contextlib.closing(sqlite3.connect(ledger.path)) as connection:
        connection.executescript(
            'DROP TABLE intent; DROP TABLE set_aside;'
            'PRAGMA user_version = 1; PRAGMA journal_mode = DELETE;'
        )
    before = ledger.path.read_bytes()
    assert ledger_reader.read_attachments(str(state)) == (RECORD,)
    assert ledger_reader.read_set_aside(str(state)) == ()
    assert ledger.path.read_bytes() == before


def test_what_is_no_database_is_refused(state):
    state.mkdir(parents=True)
    (state / 'ledger.sqlite').write_text('not a database' * 100)
    with pytest.raises(exceptions.LedgerError, match='is the ledger'):
        ledger_reader.read_attachments(str(state))
