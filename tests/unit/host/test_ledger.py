# SPDX-License-Identifier: Apache-2.0
"""The ledger keeps what it was given, each VF once, across processes."""

import contextlib
import dataclasses
import multiprocessing
import os
import sqlite3
import stat
import threading
import time
from concurrent import futures

import pytest

from kuryr_sriov import codec, exceptions, model
from kuryr_sriov.host import ledger as ledgers
from kuryr_sriov.host import wait
from kuryr_sriov.host.ledger import STALE_INTENT, Ledger

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
    ledger = Ledger(tmp_path / 'state', timeout=0.1, boot_id='boot-1')
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


@pytest.fixture
def decoded(monkeypatch):
    """The keys of the records that were decoded."""
    keys = []
    real = ledgers.read_record

    def note_and_read(row):
        keys.append(row[:2])
        return real(row)

    monkeypatch.setattr(ledgers, 'read_record', note_and_read)
    return keys


@pytest.mark.parametrize('uid', ['uid-7', 'uid "7\u00fc'])
def test_what_is_asked_of_one_pod_decodes_no_others_record(
    ledger, decoded, uid
):
    """A node has hundreds of them."""
    pod = model.Pod('default', 'other', uid)
    sandbox = model.Sandbox('c7', '/run/netns/b', pod)
    record = dataclasses.replace(
        attachment(pci='0000:02:11.0'), sandbox=sandbox
    )
    ledger.save(
        attachment(f'c{number}', pci=f'0000:02:10.{number}')
        for number in range(5)
    )
    ledger.save([record])
    assert ledger.of_pod(uid) == (record,)
    assert ledger.of('c7') == (record,)
    assert ledger.holder(record.pci) == record
    assert decoded == [('c7', 'net1')] * 3
    assert ledger.of_pod(uid[:-1]) == ()


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
    ledger = Ledger(tmp_path / 'file')
    with pytest.raises(exceptions.LedgerError, match='directory'):
        ledger.all()


def test_a_full_disk_or_the_like_says_what_to_check(ledger):
    ledger.save([])
    ledger.close()
    ledger.path.unlink()
    ledger.path.mkdir()
    with pytest.raises(exceptions.LedgerError, match='check permissions'):
        ledger.all()


def spoil(ledger, record):
    """Write over the record of c1's net1, as no release does."""
    ledger.close()
    with contextlib.closing(sqlite3.connect(ledger.path)) as other:
        other.execute(
            "UPDATE attachment SET record = ? WHERE container_id = 'c1'",
            (record,),
        )
        other.commit()


@pytest.mark.parametrize(
    'record',
    [
        '{}',
        b'\xff\xfe',
        codec.to_json(attachment(pci='0000:02:10.1')),
        codec.to_json(attachment('c9')),
    ],
    ids=['empty', 'no text', 'another VF', 'another sandbox'],
)
def test_a_record_that_cannot_be_read_stops_no_other(tmp_path, record):
    told = []
    ledger = Ledger(tmp_path, boot_id='boot-1', tell=told.append)
    other = attachment('c2', pci='0000:02:10.2')
    ledger.save([attachment(), other])
    spoil(ledger, record)
    assert ledger.all() == (other,)
    (aside,) = ledger.set_aside()
    assert aside == ledger.set_aside('0000:02:10.0')[0] == told[0]
    assert (aside.container_id, aside.ifname) == ('c1', 'net1')
    assert aside.boot_id == 'boot-1'
    assert ledger.set_aside('0000:02:10.2') == ()
    assert len(told) == 1
    with contextlib.closing(sqlite3.connect(ledger.path)) as other:
        (kept,) = other.execute('SELECT record FROM set_aside').fetchone()
    assert kept == (record if isinstance(record, bytes) else record.encode())
    ledger.forget_set_aside(['0000:02:10.0'])
    assert ledger.set_aside() == ()
    ledger.close()


def test_an_intent_is_kept_if_nobody_cancels_it(ledger):
    token = ledger.open_intent('c1', ['net1', 'net2'])
    ledger.cancel_intents('c2')
    ledger.cancel_intents('c1', 'net3')
    records = attachment(), attachment(ifname='net2', pci='0000:02:10.1')
    ledger.save(records, intent=token)
    assert ledger.all() == records
    with pytest.raises(exceptions.SandboxDeleted):
        ledger.save(records, intent=token)


@pytest.mark.parametrize('ifname', ['', 'net1'])
def test_a_cancelled_intent_saves_nothing(ledger, ifname):
    token = ledger.open_intent('c1', ['net1', 'net2'])
    ledger.cancel_intents('c1', ifname)
    records = attachment(), attachment(ifname='net2', pci='0000:02:10.1')
    with pytest.raises(exceptions.SandboxDeleted, match='sandbox c1'):
        ledger.save(records, intent=token)
    assert ledger.all() == ()


def test_intents_of_one_sandbox_do_not_meet(ledger):
    first = ledger.open_intent('c1', ['net1'])
    second = ledger.open_intent('c1', ['net1'])
    ledger.close_intent(first)
    ledger.save([attachment()], intent=second)
    assert ledger.all() == (attachment(),)


def test_intents_of_the_dead_do_not_pile_up(ledger, monkeypatch):
    ledger.open_intent('c1', ['net1'])
    later = time.time() + 2 * STALE_INTENT
    monkeypatch.setattr(time, 'time', lambda: later)
    ledger.open_intent('c2', ['net1'])
    with contextlib.closing(sqlite3.connect(ledger.path)) as other:
        rows = other.execute('SELECT container_id FROM intent').fetchall()
    assert rows == [('c2',)]


def test_a_record_takes_anothers_place_in_one_transaction(ledger):
    ledger.save([attachment()])
    successor = attachment('c2')
    ledger.save([successor], instead_of=[attachment()])
    assert ledger.all() == (successor,)


def test_only_its_owner_can_read_it(ledger):
    ledger.path.parent.mkdir(mode=0o755)
    ledger.path.touch(mode=0o644)
    ledger.save([attachment()])
    for path in ledger.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert len(list(ledger.path.parent.iterdir())) == 3


@pytest.mark.parametrize('mode', [0o770, 0o707])
def test_a_folder_that_others_can_write_to_is_refused(ledger, mode):
    ledger.path.parent.mkdir()
    ledger.path.parent.chmod(mode)
    with pytest.raises(exceptions.LedgerError, match='chmod go-w'):
        ledger.save([attachment()])
    assert list(ledger.path.parent.iterdir()) == []


def test_reading_waits_for_no_writer(ledger):
    """Neither for a process that writes nor for threads that wait for it."""
    ledger.save([attachment()])
    ledger.all()
    with contextlib.closing(sqlite3.connect(ledger.path)) as other:
        other.execute('BEGIN IMMEDIATE')
        slow = threading.Thread(target=lambda: save_and_fail(ledger))
        slow.start()
        with wait.limit(0):
            for _ in range(50):
                assert ledger.all() == (attachment(),)
        slow.join(30)


def save_and_fail(ledger):
    with pytest.raises(exceptions.LedgerBusy):
        ledger.save([attachment()])


def test_threads_that_wait_for_a_writer_wait_no_longer_together(tmp_path):
    ledger = Ledger(tmp_path, timeout=0.3)
    ledger.save([])
    with contextlib.closing(sqlite3.connect(ledger.path)) as other:
        other.execute('BEGIN IMMEDIATE')
        began = time.monotonic()
        with futures.ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: save_and_fail(ledger), range(8)))
        assert time.monotonic() - began < 8 * 0.3
    ledger.close()


def test_a_calls_deadline_counts(tmp_path):
    ledger = Ledger(tmp_path, timeout=30)
    ledger.save([])
    with contextlib.closing(sqlite3.connect(ledger.path)) as other:
        other.execute('BEGIN IMMEDIATE')
        began = time.monotonic()
        with wait.limit(0.1):
            save_and_fail(ledger)
        assert time.monotonic() - began < 10
    ledger.close()


def save_many(path, first):
    ledger = Ledger(path)
    for number in range(first, first + 20):
        record = attachment(f'c{number}', pci=f'0000:02:{number:02x}.0')
        ledger.save([record])
        ledger.save([dataclasses.replace(record, done=True)])
    ledger.close()


def test_processes_that_start_together_lose_nothing(tmp_path):
    path = tmp_path / 'state'
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
            paths = [tmp_path / str(number)] * 4
            assert list(threads.map(first_look, paths)) == [()] * 4


def test_threads_share_one_file_descriptor_set(tmp_path):
    # The last of them waits for fifteen syncs of the disk.
    ledger = Ledger(tmp_path, timeout=30)
    ledger.save([])
    ledger.all()
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
    ledger.close()


def test_only_what_a_crash_needs_waits_for_the_disk(ledger):
    """Of an attach and a detach: the record, each time, and no intent."""
    levels = ['?']  # of each commit; the last is that of the next one

    def trace(statement):
        if statement.startswith('PRAGMA synchronous'):
            levels[-1] = statement.rpartition(' ')[2]
        elif statement == 'COMMIT':
            levels.append(levels[-1])

    with ledger._writer.opened() as connection:
        connection.set_trace_callback(trace)
    token = ledger.open_intent('c1', ['net1'])
    ledger.save([attachment()])
    ledger.close_intent(token)
    ledger.save([attachment(done=True)])
    ledger.remove([attachment()])
    normal, full = '1', '2'  # sqlite.org, pragma.html#pragma_synchronous
    assert levels[:-1] == [normal, full, normal, full, full]
