# SPDX-License-Identifier: Apache-2.0
"""A daemon's process: what it says of kuryr.conf, and how it ends."""

import logging

import pytest

from kuryr_sriov_daemon import process
from kuryr_sriov_daemon.controller import startup
from kuryr_sriov_daemon.node import daemon as node_daemon

MAINS = {'node': node_daemon.main, 'controller': startup.main}

TYPOS = """
[sriov]
device_timeout = ten
resource_driver_mappings = physnet23:netdevise
vif_driver = local
[sriov_daemon]
log_format = yaml
log_levle = DEBUG
[sriov_controller]
workers = many
[sriov_node]
vifs_timeout = soon
[sriov_nodes]
way = delegate
[sriov_local]
database_timeout = x
[DEFAULT]
debug = true
"""

EACH = [
    '[sriov] device_timeout: could not convert',
    'netdevise',
    '[sriov_daemon] log_format: Valid values are [text, json]',
    'nothing reads [sriov_daemon] log_levle; did you mean log_level?',
    '[sriov_controller] workers: invalid literal',
    '[sriov_node] vifs_timeout: could not convert',
    'nothing reads section [sriov_nodes]; did you mean [sriov_node]?',
]


class Daemon:
    """Ends at once."""

    def run(self):
        return 7

    def stop(self):
        """Not called."""


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'kuryr.conf'


@pytest.fixture
def quiet_signals(monkeypatch):
    monkeypatch.setattr(process.signal, 'signal', lambda *_: None)


@pytest.mark.parametrize('side', MAINS)
def test_a_typo_in_each_section_is_told_in_one_go(file, capsys, side):
    file.write_text(TYPOS)
    assert MAINS[side](['--config-file', str(file)]) == 2
    lines = capsys.readouterr().err.splitlines()
    for sentence in EACH:
        assert sum(sentence in line for line in lines) == 1, sentence
    assert all(line.startswith(f'kuryr-sriov-{side}: ') for line in lines)


def test_the_section_of_a_driver_is_read_before_a_pod_needs_it(file, capsys):
    file.write_text(TYPOS)
    MAINS['controller'](['--config-file', str(file)])
    assert '[sriov_local] database_timeout' in capsys.readouterr().err


@pytest.mark.parametrize('text', ['[sriov', '[sriov]\nx', '\x00', None])
@pytest.mark.parametrize('side', MAINS)
def test_a_file_that_cannot_be_read_is_told(file, capsys, side, text):
    if text is not None:
        file.write_text(text)
    assert MAINS[side](['--config-file', str(file)]) == 2
    assert str(file) in capsys.readouterr().err


@pytest.mark.usefixtures('quiet_signals')
def test_a_name_that_nothing_reads_does_not_stop_it(file, capfd):
    """Another release may have read it."""
    file.write_text('[sriov_node]\nvifs_timeuot = 5\n')
    arguments = ['--config-file', str(file)]
    try:
        assert process.run_daemon('node', lambda _: Daemon(), arguments) == 7
    finally:
        logging.basicConfig(force=True)
    assert 'did you mean vifs_timeout?' in capfd.readouterr().err
