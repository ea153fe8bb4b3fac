# SPDX-License-Identifier: Apache-2.0
"""The figures of scale.rst are those that were measured."""

import json
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def check(repository):
    """Whether picture and tables are what the script makes of results."""

    def run(results):
        script = repository / 'benchmarks' / 'scale_page.py'
        done = subprocess.run(
            [sys.executable, script, '--check', '--results', results],
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        return done.stdout

    return run


def test_picture_and_tables_are_made_from_the_results(check, repository):
    """If not: make scale-page."""
    assert check(repository / 'benchmarks' / 'results') == ''


def test_other_results_make_others(check, repository, tmp_path):
    shutil.copytree(repository / 'benchmarks' / 'results', tmp_path / 'other')
    path = tmp_path / 'other' / 'scale.json'
    results = json.loads(path.read_text())
    for row in results['sizes']:
        row['publish']['cpu'] *= 2
    path.write_text(json.dumps(results))
    stale = check(tmp_path / 'other')
    assert sorted(line.split(': ')[1] for line in stale.splitlines()) == [
        'images/scale.svg',
        'snippets/scale-model.txt',
        'snippets/scale.txt',
    ]
