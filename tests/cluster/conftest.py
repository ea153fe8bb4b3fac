# SPDX-License-Identifier: Apache-2.0
"""One cluster for all tests; each leaves no pod of its own."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import pytest

TESTS = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS / 'kubernetes')]

from clusterlab.cluster import Cluster  # noqa: E402


@pytest.fixture(scope='session')
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp('cluster')) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.delete_workloads()
