# SPDX-License-Identifier: Apache-2.0
"""The ledger keeps what it was given, each VF once, across processes."""

import dataclasses
import multiprocessing
import os
import sqlite3
import threading
from concurrent import futures

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.host.ledger import Ledger

POD = model.Pod('default', 'nginx', 'uid-1')


def attachment(container_id='c1', ifname='net1', pci='0000:02:10.0', **more):
    return model.Attachment(
        sandbox=model.Sandbox(container_id, '/run/netns/a', POD),
        vif=model.Vif(
            'port', ifname, 'default/n', 'i.c/p22', 'p22', 'fa:16:3e:0:0:1'
        ),
        pci=pci,
        driver='netdevice',
        **more,
    )


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / 'state' / 'ledger.sqlite', timeout=0.1)
    yield ledger
    ledger.close()


def test_a_record_comes_back_as_it_was(ledger):
    settings = model.VfSettings(mac='00:00:00:00:00:00', vlan=0, trust=False)
    record = attachment(
        original=model.VfState('igbvf', 'ens6v0', settings=settings)
    )
    ledger.save([record])
    assert ledger.all() == (record,)
    assert ledger.of('c1') == ledger.of('c1', 'net1') == (record,)
    assert ledger.of('c1', 'net2') == ledger.of('c2') == ()
    assert ledger.holder('0000:02:10.0') == record
    assert ledger.holder('0000:02:10.1') is None


def test_saving_again_replaces_the_record(ledger):
    ledger.save([attachment()])
    done = attachment(done=True)
    ledger.save([done])
    assert ledger.all() == (done,)


def test_a_vf_is_on_record_once_or_nothing_is_saved(ledger):
    ledger.save([attachment()])
    with pytest.raises(exceptions.LedgerError, match='another sandbox'):
        ledger.save(
            [attachment('c2', pci='0000:02:10.1'), attachment('c2', 'net2')]
        )
    assert ledger.all() == (attachment(),)


def test_removing_what_is_not_there_is_fine(ledger):
    ledger.save([attachment()])
    ledger.remove([attachment(), attachment('c2')])
    assert ledger.all() == ()


def test_it_outlives_its_process(ledger):
    ledger.save([attachment()])
    ledger.close()
    assert ledger.all() == (attachment(),)


def test_another_process_that_holds_it_is_waited_for_then_named(ledger):
    ledger.save([])
    other = sqlite3.connect(ledger.path)
    other.execute('BEGIN IMMEDIATE')
    with pytest.raises(exceptions.LedgerBusy, match='locked for more than'):
        ledger.save([attachment()])
    other.rollback()
    other.close()
    ledger.save([attachment()])


def test_a_newer_schema_is_refused(ledger):
    ledger.save([])
    ledger.close()
    other = sqlite3.connect(ledger.path)
    other.execute('PRAGMA user_version = 99')
    other.close()
    with pytest.raises(exceptions.LedgerError, match='schema 99'):
        ledger.all()


def test_what_is_no_database_is_refused(ledger):
    ledger.path.parent.mkdir()
    ledger.path.write_text('not a database' * 100)
    with pytest.raises(exceptions.LedgerError, match='must be a SQLite file'):
        ledger.all()


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').touch()
    ledger = Ledger(tmp_path / 'file' / 'ledger.sqlite')
    with pytest.raises(exceptions.LedgerError, match='directory'):
        ledger.all()


def test_a_full_disk_or_the_like_says_what_to_check(ledger):
    ledger.save([])
    ledger.close()
    ledger.path.unlink()
    ledger.path.mkdir()
    with pytest.raises(exceptions.LedgerError, match='check permissions'):
        ledger.all()


def test_a_record_that_cannot_be_read_names_the_file(ledger):
    ledger.save([attachment()])
    ledger.close()
    other = sqlite3.connect(ledger.path)
    other.execute("UPDATE attachment SET record = '{}'")
    other.commit()
    other.close()
    with pytest.raises(exceptions.LedgerError, match=r'ledger\.sqlite'):
        ledger.all()


def save_many(path, first):
    ledger = Ledger(path)
    for number in range(first, first + 20):
        record = attachment(f'c{number}', pci=f'0000:02:{number:02x}.0')
        ledger.save([record])
        ledger.save([dataclasses.replace(record, done=True)])
    ledger.close()


def test_processes_that_start_together_lose_nothing(tmp_path):
    path = tmp_path / 'ledger.sqlite'
    context = multiprocessing.get_context('fork')
    children = [
        context.Process(target=save_many, args=(path, first))
        for first in (0, 20, 40)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    ledger = Ledger(path)
    assert len(ledger.all()) == 60
    ledger.close()


def test_ledgers_that_are_made_together_wait_for_each_other(tmp_path):
    """SQLite itself refuses one of two that change a new file to WAL."""
    together = threading.Barrier(4)

    def first_look(path):
        ledger = Ledger(path, timeout=10)
        together.wait()
        try:
            return ledger.all()
        finally:
            ledger.close()

    with futures.ThreadPoolExecutor(4) as threads:
        for number in range(50):
            paths = [tmp_path / str(number) / 'ledger.sqlite'] * 4
            assert list(threads.map(first_look, paths)) == [()] * 4


def test_threads_share_one_file_descriptor_set(ledger):
    ledger.save([])
    before = len(os.listdir('/proc/self/fd'))
    threads = [
        threading.Thread(
            target=lambda n=n: ledger.save([attachment(f'c{n}', pci=f'p{n}')])
        )
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(ledger.all()) == 16
    assert len(os.listdir('/proc/self/fd')) == before
