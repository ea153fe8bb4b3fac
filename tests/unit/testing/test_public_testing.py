# SPDX-License-Identifier: Apache-2.0
"""What a vendor's tests import, and what that costs."""

import subprocess
import sys

import pytest
from _pytest.assertion.rewrite import AssertionRewritingHook

from kuryr_sriov.testing import contracts, simulation


@pytest.mark.parametrize('package', [contracts, simulation])
def test_all_names_are_there(package):
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
        assert name in dir(package)
    with pytest.raises(AttributeError, match='has no attribute'):
        _ = package.Nothing


@pytest.mark.parametrize(
    ('package', 'name', 'unwanted'),
    [
        ('contracts', 'PodSubnetsDriverContract', 'grpc'),
        ('simulation', 'SimulatedNode', 'grpc'),
    ],
)
def test_a_name_loads_no_more_than_it_needs(package, name, unwanted):
    program = (
        f'from kuryr_sriov.testing.{package} import {name}; import sys; '
        f'print({unwanted!r} in sys.modules)'
    )
    ended = subprocess.run(
        [sys.executable, '-c', program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == 'False\n'


@pytest.mark.parametrize('name', contracts.__all__)
def test_a_suite_explains_what_failed(name):
    """Its assertions are rewritten like those of a test module."""
    home = sys.modules[getattr(contracts, name).__module__]
    assert isinstance(home.__loader__, AssertionRewritingHook)
