# SPDX-License-Identifier: Apache-2.0
"""The node's CNI configuration, with us last in the list."""

import json
import os
import stat
from pathlib import Path

import pytest

from kuryr_sriov import PermanentError, TransientError
from kuryr_sriov_daemon.node.conflist import Conflist

BRIDGE = {'type': 'bridge', 'bridge': 'cni0', 'ipam': {'type': 'host-local'}}
PORTMAP = {'type': 'portmap', 'capabilities': {'portMappings': True}}
OURS = {'type': 'kuryr-sriov'}


def a_list(*plugins, **more):
    head = {'cniVersion': '1.0.0', 'name': 'pods', 'disableCheck': False}
    return {**head, 'plugins': list(plugins), **more}


def write(path, value):
    text = value if isinstance(value, str) else json.dumps(value)
    path.write_text(text)


def read(path):
    return json.loads(path.read_text())


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def conflist(folder):
    return Conflist(folder)


def test_it_comes_last_and_goes_again(folder, conflist):
    path = folder / '10-bridge.conflist'
    before = a_list(BRIDGE, PORTMAP)
    write(path, before)
    assert conflist.insert()
    assert read(path) == a_list(BRIDGE, PORTMAP, OURS)
    assert conflist.remove()
    assert read(path) == before
    assert os.listdir(folder) == [path.name]


def test_a_file_is_on_disk_whole_before_it_has_its_name(
    folder, conflist, monkeypatch
):
    """Else a node that loses power has a name with nothing in it."""
    path = folder / '10-bridge.conflist'
    write(path, a_list(BRIDGE))
    done = []

    def fsync(file):
        with open(f'/proc/self/fd/{file}') as synced:
            assert json.load(synced) == a_list(BRIDGE, OURS)
        assert read(path) == a_list(BRIDGE)
        done.append(file)

    monkeypatch.setattr(os, 'fsync', fsync)
    assert conflist.insert()
    assert len(done) == 1
    assert read(path) == a_list(BRIDGE, OURS)


def test_once_it_is_there_nothing_is_written(folder, conflist):
    path = folder / '10-bridge.conflist'
    write(path, a_list(BRIDGE, {**OURS, 'debug': True}))
    before = path.stat().st_ino
    assert not conflist.insert()
    assert path.stat().st_ino == before


@pytest.mark.parametrize(
    'plugins', [[OURS, BRIDGE], [BRIDGE, OURS, PORTMAP], [BRIDGE, OURS, OURS]]
)
def test_it_comes_last_once(folder, conflist, plugins):
    path = folder / '10-bridge.conflist'
    write(path, a_list(*plugins))
    assert conflist.insert()
    others = [plugin for plugin in plugins if plugin != OURS]
    assert read(path) == a_list(*others, OURS)


@pytest.mark.parametrize(
    'files',
    [
        ['05-a.conflist', '10-bridge.conflist'],
        ['05-a.conflist', '01-x.txt', '00-y.conflist.bak'],
    ],
)
def test_the_active_file_is_the_first_that_runtimes_read(
    folder, conflist, files
):
    for name in files:
        write(folder / name, a_list(BRIDGE))
    assert conflist.find_active() == folder / '05-a.conflist'
    conflist.insert()
    changed = [name for name in files if read(folder / name) != a_list(BRIDGE)]
    assert changed == ['05-a.conflist']


@pytest.mark.parametrize(
    'broken',
    [
        '',
        '{',
        '[]',
        '{}',
        json.dumps({'plugins': {}}),
        json.dumps({'plugins': ['x']}),
        json.dumps(a_list()),
        json.dumps(BRIDGE),  # no list, whatever its suffix says
    ],
)
def test_a_file_that_runtimes_cannot_read_is_left_alone(
    folder, conflist, broken
):
    write(folder / '00-broken.conflist', broken)
    write(folder / '10-bridge.conflist', a_list(BRIDGE))
    assert conflist.insert()
    assert conflist.remove()
    assert (folder / '00-broken.conflist').read_text() == broken


@pytest.mark.parametrize('suffix', ['conf', 'json'])
def test_a_single_plugin_becomes_a_list_and_is_one_again(
    folder, conflist, suffix
):
    path = folder / f'10-bridge.{suffix}'
    before = {'cniVersion': '0.4.0', 'name': 'pods', **BRIDGE}
    write(path, before)
    assert conflist.insert()
    (made,) = os.listdir(folder)
    assert made == '10-bridge.conflist'
    found = read(folder / made)
    assert found['plugins'] == [before, OURS]
    assert (found['cniVersion'], found['name']) == ('0.4.0', 'pods')
    assert not conflist.insert()
    assert conflist.remove()
    assert os.listdir(folder) == [path.name]
    assert read(path) == before


def test_a_single_plugin_that_is_written_anew_counts_again(folder, conflist):
    """Its file sorts before the list that was made of it."""
    path = folder / '10-bridge.conf'
    for version in ('0.3.1', '0.4.0'):
        write(path, {'cniVersion': version, 'name': 'pods', **BRIDGE})
        assert conflist.insert()
        assert os.listdir(folder) == ['10-bridge.conflist']
        assert read(folder / '10-bridge.conflist')['cniVersion'] == version


@pytest.mark.parametrize('name', ['../../evil.conf', '/evil.conf'])
def test_a_marked_name_is_no_path(folder, conflist, name):
    made = a_list(BRIDGE, OURS, kuryrSriovMadeOf=name)
    inner = folder / 'net.d'
    inner.mkdir()
    write(inner / '10-bridge.conflist', made)
    Conflist(inner).remove()
    assert os.listdir(inner) == ['evil.conf']
    assert os.listdir(folder) == ['net.d']


def test_mode_and_owner_stay(folder, conflist):
    path = folder / '10-bridge.conflist'
    write(path, a_list(BRIDGE))
    path.chmod(0o600)
    conflist.insert()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_owner_that_may_not_be_given_is_left_out(
    folder, conflist, monkeypatch
):
    """Without CAP_CHOWN, as the DaemonSet has it."""

    def refuse(*args):
        raise PermissionError

    path = folder / '10-bridge.conflist'
    write(path, a_list(BRIDGE))
    monkeypatch.setattr(os, 'fchown', refuse)
    assert conflist.insert()
    assert read(path) == a_list(BRIDGE, OURS)


def test_a_file_that_only_the_runtime_may_read_is_not_passed_over(
    folder, conflist, monkeypatch
):
    """It is the active one; another one would be the wrong one."""
    write(folder / '05-a.conflist', a_list(BRIDGE))
    write(folder / '10-bridge.conflist', a_list(BRIDGE))
    read_bytes = Path.read_bytes

    def refuse(path):
        if path.name == '05-a.conflist':
            raise PermissionError(13, 'Permission denied', str(path))
        return read_bytes(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, 'read_bytes', refuse)
        with pytest.raises(PermissionError, match='05-a'):
            conflist.insert()
    assert read(folder / '10-bridge.conflist') == a_list(BRIDGE)


def test_without_a_primary_cni_it_waits(folder, conflist):
    with pytest.raises(TransientError, match='no CNI configuration yet'):
        conflist.insert()
    with pytest.raises(TransientError):
        Conflist(folder / 'none').insert()
    assert not Conflist(folder / 'none').remove()


def test_alone_it_is_no_network(folder, conflist):
    path = folder / '10-bridge.conflist'
    write(path, a_list(OURS))
    with pytest.raises(PermanentError, match='no primary CNI'):
        conflist.insert()
    assert conflist.remove()
    assert os.listdir(folder) == []


@pytest.mark.parametrize('version', ['0.1.0', '0.2.0', '9.0.0', None])
def test_a_list_of_a_version_without_room_is_left_alone(
    folder, conflist, version
):
    path = folder / '10-bridge.conflist'
    before = a_list(BRIDGE)
    before['cniVersion'] = version
    if version is None:
        del before['cniVersion']
    write(path, before)
    with pytest.raises(PermanentError, match='cniVersion'):
        conflist.insert()
    assert read(path) == before


def test_it_goes_from_lists_that_are_no_longer_active(folder, conflist):
    old, new = folder / '20-old.conflist', folder / '10-new.conflist'
    write(old, a_list(BRIDGE))
    conflist.insert()
    write(new, a_list(PORTMAP))
    conflist.insert()
    assert conflist.remove()
    assert read(old) == a_list(BRIDGE)
    assert read(new) == a_list(PORTMAP)
    assert not conflist.remove()
