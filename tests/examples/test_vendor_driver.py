# SPDX-License-Identifier: Apache-2.0
"""The example of a vendor, installed as pip would; ``make extend`` does."""

import configparser
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kuryr_sriov.cmd.demo import howto_files

EXAMPLE = Path(__file__).parents[2] / 'examples' / 'vendor-driver'
COMMAND = 'from kuryr_sriov.cmd import main; raise SystemExit(main.main())'
OPTIONS = (
    'import json\n'
    'from kuryr_sriov.config import catalogue\n'
    'sections = dict(catalogue.list_opts())\n'
    "print(json.dumps([option.name for option in sections['acme']]))\n"
)


@pytest.fixture
def run(tmp_path):
    """Runs Python where the example is installed; its standard output."""
    metadata = configparser.ConfigParser()
    metadata.read(EXAMPLE / 'setup.cfg')
    info = tmp_path / 'acme_crane-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: acme-crane\nVersion: 1.0\n'
    )
    (info / 'entry_points.txt').write_text(
        ''.join(
            f'[{group}]{entries}\n'
            for group, entries in metadata['options.entry_points'].items()
        )
    )
    path = os.pathsep.join([str(tmp_path), str(EXAMPLE), *sys.path])

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def files(tmp_path):
    """The how-to's files, with the vendor's kuryr.conf."""
    folder = shutil.copytree(howto_files.default_folder(), tmp_path / 'files')
    shutil.copy(EXAMPLE / 'kuryr.conf', folder)
    return folder


def test_its_own_tests_pass(run):
    output = run('-m', 'pytest', '-q', str(EXAMPLE / 'tests'))
    assert ' passed' in output


def test_the_demo_runs_with_its_plugins(run, files):
    output = run(
        *('-c', COMMAND, 'demo', '--json', '--files', str(files)),
    )
    report = json.loads(output)
    drivers = [bound['binding_driver'] for bound in report['bound']]
    assert drivers == ['vfio-pci', 'crane']
    assert report['bound'][1]['settings']['max_tx_rate'] == 2500
    assert report['bound'][1]['device_nodes'] == ['/dev/crane/0000:02:10.1']
    assert all(report['given_back'].values())


def test_its_options_are_in_the_sample(run):
    assert json.loads(run('-c', OPTIONS)) == [
        *('kernel_driver', 'max_tx_rate', 'subnets'),
        'port_dir',
    ]
