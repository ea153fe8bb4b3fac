# SPDX-License-Identifier: Apache-2.0
"""The contract suites see what is broken."""

import collections
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import broken_allocations
import broken_bindings
import broken_hooks
import broken_promises
import broken_subnets
import broken_vifs
import mutants
import pytest

MODULES = (
    broken_allocations,
    broken_bindings,
    broken_hooks,
    broken_promises,
    broken_subnets,
    broken_vifs,
)
BROKEN = [
    pytest.param(driver, id=f'{driver.__module__}-{driver.__name__}')
    for module in MODULES
    for driver in mutants.of(vars(module))
]


@pytest.fixture(scope='module')
def verdicts(tmp_path_factory):
    """What each suite's test came to: nothing where it passed."""
    report = tmp_path_factory.mktemp('suites') / 'report.xml'
    tests = [
        f'{sys.modules[driver.__module__].__file__}::'
        f'Test{driver.__name__}::{driver.caught_by}'
        for driver in (parameter.values[0] for parameter in BROKEN)
    ]
    run = subprocess.run(
        [sys.executable, '-m', 'pytest', f'--junitxml={report}', *tests],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout
    found = collections.defaultdict(set)
    for case in ElementTree.parse(report).iter('testcase'):
        suite = tuple(case.get('classname').split('.')[-2:])
        found[suite] |= {outcome.tag for outcome in case}
    return found


class TestSoundHook(broken_hooks.Suite):
    """It is no driver of ours that the broken hooks differ from."""


@pytest.mark.parametrize('driver', BROKEN)
def test_a_broken_driver_is_caught_by_the_test_made_for_it(driver, verdicts):
    suite = driver.__module__, f'Test{driver.__name__}'
    assert 'failure' in verdicts[suite]


@pytest.mark.parametrize('module', MODULES)
def test_every_expectation_has_a_driver_that_breaks_it(module):
    """Else nobody knows whether it can fail."""
    suite = next(
        thing for name, thing in vars(module).items() if name[:4] == 'Test'
    )
    expectations = {name for name in dir(suite) if name.startswith('test_')}
    caught = {driver.caught_by for driver in mutants.of(vars(module))}
    assert expectations - caught == set()
