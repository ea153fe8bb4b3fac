# SPDX-License-Identifier: Apache-2.0
"""The local driver's database: shared by processes, kept, and in trouble."""

import contextlib
import dataclasses
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.local import database

POD = model.Pod('ns', 'web', 'uid-web')
VIF = model.Vif('id', 'net1', 'ns/nad', 'r', 'p', 'fa:16:3e:00:00:01')

ALLOCATE = """
import sys, types
from kuryr_sriov import model
from kuryr_sriov.drivers.local import LocalVIFDriver

name, folder = sys.argv[1:]
driver = LocalVIFDriver(types.SimpleNamespace(
    subnets_file=f'{folder}/subnets.yaml',
    database=f'{folder}/local.sqlite',
    database_timeout=30.0,
))
wish = model.NetworkRequest(
    'ns', 'nad', 'net1', subnets=(driver.describe_subnet('four'),)
)
for count in range(20):
    pod = model.Pod('ns', f'{name}-{count}', f'{name}-{count}')
    (vif,) = driver.request_vifs(pod, [wish])
    print(vif.addresses[0], vif.mac)
"""

DIE_HALF_WAY = """
import os, signal, sys
from kuryr_sriov.drivers.local import database

base = database.Database(sys.argv[1], 10.0)
with base.transaction() as allocations:
    allocations.release('uid-web')
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'state' / 'local.sqlite'


def use(path, timeout=10.0):
    """One transaction that stores a VIF."""
    with database.Database(str(path), timeout).transaction() as allocations:
        allocations.add(POD, 'net', [1, 2], '{}', VIF)


def unusable(path):
    with pytest.raises(exceptions.ConfigurationError) as error:
        use(path)
    assert f'[sriov_local] database {path}: ' in str(error.value)
    return str(error.value)


def test_two_processes_never_hand_out_one_address(tmp_path):
    (tmp_path / 'subnets.yaml').write_text(
        'subnets: [{id: four, network: n, physnet: p, cidr: 10.0.0.0/24}]'
    )
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', ALLOCATE, name, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in 'abc'
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    pairs = [line.split() for output in outputs for line in output.split('\n')]
    found, macs = zip(*filter(None, pairs), strict=True)
    assert set(found) == {f'10.0.0.{host}/24' for host in range(1, 61)}
    assert len(set(macs)) == 60


def test_a_killed_process_leaves_nothing(path):
    use(path)
    done = subprocess.run(
        [sys.executable, '-c', DIE_HALF_WAY, str(path)], timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    with database.Database(str(path), 10.0).transaction() as allocations:
        assert allocations.get('id') == (VIF, POD.uid)


def test_nothing_stays_open(path):
    use(path)
    links = []
    for fd in os.listdir('/proc/self/fd'):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f'/proc/self/fd/{fd}'))
    assert not [link for link in links if link.startswith(str(path))]


def test_an_error_takes_all_of_it_back(path):
    def fail(allocations):
        allocations.add(POD, 'net', [1], '{}', VIF)
        raise KeyError

    base = database.Database(str(path), 10.0)
    with pytest.raises(KeyError), base.transaction() as allocations:
        fail(allocations)
    use(path)


@pytest.mark.parametrize(
    'change',
    [
        {'id': 'other', 'ifname': 'net2'},
        {'id': 'other', 'mac': 'fa:16:3e:00:00:02'},
        {'ifname': 'net2', 'mac': 'fa:16:3e:00:00:02'},
    ],
)
def test_the_tables_themselves_refuse_duplicates(path, change):
    use(path)
    base = database.Database(str(path), 10.0)
    vif = dataclasses.replace(VIF, **change)
    with (
        pytest.raises(exceptions.ConfigurationError, match='UNIQUE'),
        base.transaction() as allocations,
    ):
        allocations.add(POD, 'net', [], '{}', vif)


def test_the_tables_themselves_refuse_an_address_twice(path):
    base = database.Database(str(path), 10.0)
    with (
        pytest.raises(exceptions.ConfigurationError, match='UNIQUE'),
        base.transaction() as allocations,
    ):
        allocations.add(POD, 'net', [1, 1], '{}', VIF)


def test_locked_by_another_process(path):
    use(path)
    other = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(other):
        other.execute('BEGIN IMMEDIATE')
        with pytest.raises(exceptions.ProviderUnavailable) as error:
            use(path, timeout=0.01)
    assert 'database_timeout' in str(error.value)


def test_locked_by_another_thread(path):
    base = database.Database(str(path), 0.01)
    with (
        base.transaction(),
        pytest.raises(exceptions.ProviderUnavailable),
        base.transaction(),
    ):
        pass


def test_newer_schema(path):
    use(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('PRAGMA user_version = 3')
    message = unusable(path)
    assert 'has schema 3, this release knows 2' in message
    assert 'install the release that wrote it' in message


def test_database_of_another_program(path):
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE attachment (pci TEXT)')
    assert 'is the database of another program' in unusable(path)


def test_no_database(path):
    path.parent.mkdir()
    path.write_text('no SQLite file, but long enough to be one' * 10)
    assert 'file is not a database; restore it' in unusable(path)


def test_the_folders_of_its_path_are_made(tmp_path):
    path = tmp_path / 'var' / 'lib' / 'local.sqlite'
    use(path)
    assert path.is_file()
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_path_is_a_directory(path):
    path.mkdir(parents=True)
    assert 'check permissions' in unusable(path)


def test_directory_cannot_be_made(tmp_path):
    (tmp_path / 'file').touch()
    message = unusable(tmp_path / 'file' / 'local.sqlite')
    assert 'name a file that this process can write' in message


def test_record_that_cannot_be_read(path):
    use(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE vif SET record = '{}'")
    base = database.Database(str(path), 10.0)
    with (
        pytest.raises(exceptions.ConfigurationError, match='record of a VIF'),
        base.transaction() as allocations,
    ):
        allocations.list_owned()


def test_stored_form(path):
    """What older releases wrote: change it with SCHEMA and a migration."""
    use(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        columns = {
            table: [
                row[1]
                for row in connection.execute(f'PRAGMA table_info({table})')
            ]
            for table in ('vif', 'address', 'run')
        }
        ips = connection.execute('SELECT ip FROM address').fetchall()
    assert columns == {
        'vif': [
            'id',
            'pod_uid',
            'pod',
            'ifname',
            'network',
            'mac',
            'node',
            'pci_slot',
            'created',
            'request',
            'record',
        ],
        'address': ['network', 'ip', 'vif'],
        'run': ['network', 'first', 'last'],
    }
    assert ips == [(bytes(15) + b'\1',), (bytes(15) + b'\2',)]


CHANGES = st.lists(
    st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=60
)
POOLS = st.lists(st.integers(0, 20), min_size=2, unique=True).map(
    lambda cuts: [
        range(start, stop) for start, stop in itertools.pairwise(sorted(cuts))
    ][::2]
)


@given(CHANGES, POOLS)
def test_the_lowest_free_address_is_found_whatever_came_and_went(
    changes, pools
):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        base = database.Database(f'{folder}/local.sqlite', 10.0)
        allocations = stack.enter_context(base.transaction())
        used = set()
        for add, ip in changes:
            if add and ip not in used:
                used.add(ip)
                vif = dataclasses.replace(
                    VIF, id=str(ip), ifname=str(ip), mac=str(ip)
                )
                allocations.add(POD, 'net', [ip], '{}', vif)
            elif not add:
                used.discard(ip)
                allocations.remove(str(ip))
            free = set().union(*pools) - used
            found = allocations.lowest_free('net', pools)
            assert found == min(free, default=None)


def test_one_more_vif_reads_as_little_among_thousands_as_among_few(path):
    """Counted in steps of SQLite's virtual machine, not in seconds."""
    base = database.Database(str(path), 10.0)
    steps = []

    def add(allocations, number):
        ip = allocations.lowest_free('net', [range(1, 2**64)])
        assert ip == number
        mac = f'02:00:00:00:{number >> 8:02x}:{number & 255:02x}'
        assert not allocations.mac_holder('', mac)
        pod = model.Pod('ns', f'pod-{number}', f'uid-{number}')
        vif = dataclasses.replace(VIF, id=str(number), mac=mac)
        assert allocations.find_vifs(pod.uid) == {}
        allocations.add(pod, 'net', [ip], '{}', vif)

    with base.transaction() as allocations:
        connection = allocations._execute.__self__
        for number in range(1, 3001):
            count = itertools.count()
            # what the handler returns is whether to interrupt
            connection.set_progress_handler(lambda c=count: next(c) * 0, 1)
            add(allocations, number)
            connection.set_progress_handler(None, 1)
            steps.append(next(count))
    # a B-tree is a level deeper for hundreds of times as many rows
    assert max(steps[-500:]) < 2 * max(steps[:100])
