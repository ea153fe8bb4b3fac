# SPDX-License-Identifier: Apache-2.0
"""The CNI plugin on the host."""

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time

import pytest

from kuryr_sriov import PermanentError
from kuryr_sriov_daemon.node import installation

LIST = {'cniVersion': '1.0.0', 'name': 'pods', 'plugins': [{'type': 'bridge'}]}
OURS = {'type': 'kuryr-sriov'}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / 'image' / 'kuryr-sriov'
    path.parent.mkdir()
    path.write_text('#!/bin/sh\necho old\n')
    return path


def test_the_plugin_is_put_in_place_once(tmp_path, source):
    folder = tmp_path / 'opt' / 'bin'
    assert installation.install_plugin(source, folder)
    path = folder / 'kuryr-sriov'
    assert subprocess.check_output([path]) == b'old\n'
    assert not installation.install_plugin(source, folder)
    assert os.listdir(folder) == [path.name]
    assert installation.remove_plugin(folder)
    assert not installation.remove_plugin(folder)
    assert os.listdir(folder) == []


def test_a_plugin_is_on_disk_whole_before_it_has_its_name(
    tmp_path, source, monkeypatch
):
    done = []

    def fsync(file):
        with open(f'/proc/self/fd/{file}') as synced:
            assert synced.read() == source.read_text()
        assert not (tmp_path / 'kuryr-sriov').exists()
        done.append(file)

    monkeypatch.setattr(os, 'fsync', fsync)
    assert installation.install_plugin(source, tmp_path)
    assert len(done) == 1


def test_a_plugin_that_runs_is_replaced(tmp_path, source):
    shutil.copyfile('/bin/cat', source)
    installation.install_plugin(source, tmp_path)
    path = tmp_path / 'kuryr-sriov'
    with subprocess.Popen(
        [path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        source.write_text('#!/bin/sh\necho new\n')
        assert installation.install_plugin(source, tmp_path)
        assert subprocess.check_output([path]) == b'new\n'
        assert running.communicate(b'still')[0] == b'still'


def test_a_plugin_that_is_not_there_is_named(tmp_path, source):
    source.unlink()
    with pytest.raises(PermanentError, match='cannot be installed'):
        installation.install_plugin(source, tmp_path)


@pytest.fixture(autouse=True)
def long_period(monkeypatch):
    """What happens within half of it happens since it was told."""
    monkeypatch.setattr(installation, 'LOOK_AGAIN', 240.0)


@contextlib.contextmanager
def keeping(folder):
    keeper = installation.Keeper(folder)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


def replace(path, value):
    """As other CNIs do: at once."""
    new = path.with_name('new')
    new.write_text(json.dumps(value))
    os.replace(new, path)


def wait_until_ours(path):
    """Until it is in the list; far sooner than it looks by itself."""
    deadline = time.monotonic() + installation.LOOK_AGAIN / 2
    while (
        not path.exists()
        or OURS not in json.loads(path.read_text())['plugins']
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_is_added_as_soon_as_there_is_a_primary_cni(tmp_path):
    folder = tmp_path / 'net.d'
    with keeping(folder):
        while not folder.exists():
            time.sleep(0.01)
        path = folder / '10-bridge.conflist'
        replace(path, LIST)
        wait_until_ours(path)


def test_it_is_added_again_when_the_primary_cni_rewrites_its_list(tmp_path):
    path = tmp_path / '10-bridge.conflist'
    replace(path, LIST)
    with keeping(tmp_path):
        wait_until_ours(path)
        replace(path, LIST)
        wait_until_ours(path)
        path.write_text(json.dumps(LIST))
        wait_until_ours(path)
        replace(tmp_path / '05-other.conflist', LIST)
        wait_until_ours(tmp_path / '05-other.conflist')
        (tmp_path / '05-other.conflist').unlink()
        replace(path, LIST)
        wait_until_ours(path)
    assert OURS in json.loads(path.read_text())['plugins']


def test_it_looks_once_for_each_change_and_then_waits(tmp_path):
    """What happened was taken note of: it is no reason to look again."""
    with keeping(tmp_path) as keeper:
        looks, insert = [], keeper._conflist.insert

        def count():
            looks.append(1)
            return insert()

        keeper._conflist.insert = count
        path = tmp_path / '10-bridge.conflist'
        replace(path, LIST)
        wait_until_ours(path)
        (tmp_path / 'last').write_text('')
        deadline = time.monotonic() + installation.LOOK_AGAIN / 2
        seen = -1
        while seen != len(looks):  # until it is quiet
            assert time.monotonic() < deadline
            seen = len(looks)
            time.sleep(0.3)
    # Events per change: made, written, renamed, and those of our own.
    assert 0 < len(looks) <= 20


def test_nothing_is_left_open(tmp_path):
    def count_open():
        return len(os.listdir('/proc/self/fd'))

    before = count_open()
    with keeping(tmp_path / 'net.d'):
        assert count_open() > before
    assert count_open() == before


def test_it_does_not_fight_without_end(tmp_path, caplog):
    """Another program that also wants to be last, and always rewrites."""
    path = tmp_path / '10-bridge.conflist'
    stop = threading.Event()
    times = []

    def fight():
        while not stop.is_set():
            if OURS in json.loads(path.read_text())['plugins']:
                times.append(time.monotonic())
                replace(path, LIST)
            stop.wait(0.01)

    replace(path, LIST)
    rival = threading.Thread(target=fight)
    with keeping(tmp_path):
        rival.start()
        deadline = time.monotonic() + 120
        while 'keeps changing' not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        count = len(times)
        stop.wait(1.0)
        assert len(times) <= count + 1
        stop.set()
        rival.join()
