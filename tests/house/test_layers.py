# SPDX-License-Identifier: Apache-2.0
"""The layers hold, and the table of the house shows them as they are."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = 'kuryr_sriov', 'kuryr_sriov_daemon'

WRONG = {
    'binding/vdpa.py': 'from kuryr_sriov import controller\n',
    'drivers/cloud.py': 'from kuryr_sriov.drivers import local\n',
    'shortcuts.py': 'from kuryr_sriov import model\n',
    'host/sockets.py': 'from kuryr_sriov.handlers import choose_vfs\n',
}
"""Modules as somebody could add them, each in a wrong way."""

SIGNS = {
    'binding/vdpa.py': 'kuryr_sriov.binding.vdpa -> kuryr_sriov.controller',
    'drivers/cloud.py': 'kuryr_sriov.drivers.cloud',
    'shortcuts.py': 'kuryr_sriov.shortcuts',
    'host/sockets.py': 'kuryr_sriov.host.sockets -> kuryr_sriov.handlers',
}
"""What the verdict says of each."""


@pytest.fixture(scope='module')
def verdict(tmp_path_factory):
    """What import-linter says of a tree that has all of ``WRONG``."""
    folder = tmp_path_factory.mktemp('house')
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, folder / package)
    shutil.copy(REPOSITORY / 'setup.cfg', folder)
    for name, text in WRONG.items():
        (folder / 'kuryr_sriov' / name).write_text(text)
    program = (
        'import sys; sys.path.insert(0, "."); '
        'from importlinter.cli import lint_imports_command as command; '
        'command()'
    )
    ended = subprocess.run(
        [sys.executable, '-P', '-c', program, '--no-cache'],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    return ended.stdout


@pytest.mark.parametrize('name', WRONG)
def test_a_wrong_module_is_refused(verdict, name):
    assert SIGNS[name] in verdict


def layers():
    """The layers of the library as ``setup.cfg`` has them, from the top."""
    cfg = configparser.ConfigParser()
    cfg.read(REPOSITORY / 'setup.cfg')
    text = cfg['importlinter:contract:house']['layers']
    return [
        {name.strip() for name in line.split('|')}
        for line in text.strip().splitlines()
    ]


def test_the_table_of_the_house_has_the_layers_in_their_order():
    text = (REPOSITORY / 'CONTRIBUTING.rst').read_text()
    _, table, _ = re.split(r'^=+  =+$', text, maxsplit=2, flags=re.MULTILINE)
    columns = table.strip('\n').splitlines()
    shown = [
        set(re.findall(r'``(\w+)(?:\.py|/)``', row.partition('  ')[0]))
        for row in columns
    ]
    shown = [names for names in shown if names]
    assert shown == layers()


def test_the_table_stands_once():
    page = (REPOSITORY / 'doc/source/architecture.rst').read_text()
    assert 'include:: ../../CONTRIBUTING.rst' in page
    assert 'handlers/``' not in page


def test_the_files_to_begin_with_are_there():
    text = (REPOSITORY / 'CONTRIBUTING.rst').read_text()
    section = text.partition('Where to begin\n====')[2].partition('\nRules\n')[
        0
    ]
    named = re.findall('``([a-z_]+[/.][a-z_/.]+)``', section)
    assert len(named) > 10
    assert [path for path in named if not (REPOSITORY / path).exists()] == []
