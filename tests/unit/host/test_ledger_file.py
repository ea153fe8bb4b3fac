# SPDX-License-Identifier: Apache-2.0
"""Transactions of the ledger's file, beside those of other processes."""

import sqlite3
import urllib.parse

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.host import ledger_file
from kuryr_sriov.host.ledger_file import LedgerFile, migrate


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'state' / 'ledger.sqlite'


@pytest.fixture
def open_file(path):
    opened = []

    def open_file(timeout=0.05):
        opened.append(LedgerFile(path, timeout))
        return opened[-1]

    yield open_file
    for each in opened:
        each.close()


def test_who_writes_is_alone_from_the_beginning(open_file):
    """What it reads first decides what it writes."""
    first, second = open_file(), open_file()
    with (
        first.writing() as connection,
        pytest.raises(exceptions.LedgerBusy, match=r'more than 0\.05 s'),
        second.writing(),
    ):
        pytest.fail('both write')
    assert not connection.in_transaction
    with second.writing():
        pass


def test_nothing_of_a_transaction_that_failed_stays(open_file):
    file = open_file()

    def fail(error):
        with file.writing() as connection:
            connection.execute('CREATE TABLE half (way)')
            raise error

    for error in (KeyError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(error)
    with file.opened() as connection:
        assert not connection.in_transaction
        found = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name = 'half'"
        )
        assert found.fetchone() == (0,)


def test_a_migration_is_whole_or_not_at_all(path, monkeypatch):
    path.parent.mkdir()
    monkeypatch.setattr(
        ledger_file, 'MIGRATIONS', [['CREATE TABLE a (b)', 'no statement']]
    )
    monkeypatch.setattr(ledger_file, 'SCHEMA', 1)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.OperationalError, match='syntax error'):
        migrate(connection, path)
    assert not connection.in_transaction
    tables = connection.execute('SELECT count(*) FROM sqlite_master')
    assert tables.fetchone() == (0,)
    connection.close()


def test_who_migrates_is_alone(path, monkeypatch):
    """The other one waits, and finds it done."""
    path.parent.mkdir()
    begun = []

    class Statement(str):
        def strip(self):
            other = sqlite3.connect(path, timeout=0)
            with pytest.raises(sqlite3.OperationalError, match='locked'):
                other.execute('BEGIN IMMEDIATE')
            other.close()
            begun.append(True)
            return 'CREATE TABLE a (b)'

    monkeypatch.setattr(ledger_file, 'MIGRATIONS', [[Statement('')]])
    monkeypatch.setattr(ledger_file, 'SCHEMA', 1)
    connection = sqlite3.connect(path)
    migrate(connection, path)
    assert begun == [True]
    connection.close()


def test_a_file_is_read_whatever_its_name_and_never_written(tmp_path):
    path = tmp_path / 'a ledger?mode=rw#%41'
    made = sqlite3.connect(f'file:{urllib.parse.quote(str(path))}', uri=True)
    with made:
        made.execute('CREATE TABLE a (b)')
    made.close()
    reader = ledger_file.open_for_reading(path)
    assert reader.execute('SELECT count(*) FROM a').fetchone() == (0,)
    with pytest.raises(sqlite3.OperationalError, match='readonly'):
        reader.execute('INSERT INTO a VALUES (1)')
    reader.close()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(('durable', 'synchronous'), [(True, 2), (False, 1)])
def test_what_has_to_outlive_the_machine_is_on_disk_when_it_returns(
    open_file, durable, synchronous
):
    file = open_file(timeout=7)
    for _ in range(2):
        with file.writing(durable=durable):
            pass
        with file.opened() as connection:
            pragmas = [
                connection.execute(f'PRAGMA {name}').fetchone()[0]
                for name in ('synchronous', 'busy_timeout')
            ]
        assert pragmas == [synchronous, pytest.approx(7000, abs=100)]
        with file.writing(durable=not durable):
            pass
