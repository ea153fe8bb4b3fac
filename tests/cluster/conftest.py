# SPDX-License-Identifier: Apache-2.0
"""One cluster for all tests; each leaves it as it found it."""

from __future__ import annotations

import os
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

TESTS = pathlib.Path(__file__).parents[1]
sys.path[:0] = [
    str(TESTS.parent),
    *(str(TESTS / name) for name in ('cluster', 'kubernetes', 'neutron')),
]

from clusterlab import evidence  # noqa: E402
from clusterlab.cluster import Cluster  # noqa: E402

RESULTS = 'KURYR_SRIOV_CLUSTER_RESULTS'
COLLECTED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    # openstacksdk warns of what it does itself whenever it is configured
    for kind in ('DeprecationWarning', 'PendingDeprecationWarning'):
        config.addinivalue_line('filterwarnings', f'ignore::{kind}')
    config.addinivalue_line('markers', 'slow: takes minutes')


@pytest.fixture(scope='session')
def results() -> pathlib.Path:
    """Folder for what a person reads afterwards."""
    usual = pathlib.Path.home() / '.cache' / 'kuryr-sriov-cluster'
    folder = pathlib.Path(os.environ.get(RESULTS, usual))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope='session')
def cluster(
    tmp_path_factory: pytest.TempPathFactory, results: pathlib.Path
) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp('cluster'))
    try:
        try:
            running.start()
        except BaseException:
            evidence.collect(running, results / 'start')
            raise
        yield running
    finally:
        running.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Keep what there is to see at a test's first failure."""
    report = yield
    given = getattr(item, 'funcargs', {})
    if report.failed and 'cluster' in given and COLLECTED not in item.stash:
        item.stash[COLLECTED] = True
        folder = given['results'] / re.sub(r'\W+', '-', item.name)
        evidence.collect(given['cluster'], folder)
    return report


@pytest.fixture
def accounted(cluster: Cluster) -> Iterator[None]:
    """Every VF, port, record and port object is as before, at the end."""
    yield
    cluster.delete_workloads()
    cluster.wait_accounted()
