# SPDX-License-Identifier: Apache-2.0
"""A Neutron and a Keystone for each worker; every test leaves no port."""

from __future__ import annotations

import itertools
import pathlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from neutronlab.kuryr import MakeDriver, make_driver
from neutronlab.lab import Lab
from servers import wait_for

from kuryr_sriov import model
from kuryr_sriov.drivers.neutron import NeutronVIFDriver


def pytest_configure(config: pytest.Config) -> None:
    # openstacksdk warns of what it does itself whenever it is configured
    for kind in ('DeprecationWarning', 'PendingDeprecationWarning'):
        config.addinivalue_line('filterwarnings', f'ignore::{kind}')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: one worker has it, the other one the rest."""
    items.sort(key=lambda item: item.path.name != 'test_churn.py')


@pytest.fixture(scope='session')
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp('neutron')) as running:
        yield running


@pytest.fixture
def admin(lab: Lab) -> Any:
    """openstacksdk connection of the cloud's administrator."""
    return lab.admin


@pytest.fixture(autouse=True)
def clean_cloud(lab: Lab) -> Iterator[None]:
    """Faults, ports and VFs in use end with the test that made them."""
    yield
    lab.clear()


@pytest.fixture
def make(lab: Lab, tmp_path: pathlib.Path) -> Iterator[MakeDriver]:
    """Makes drivers as a controller would, from a kuryr.conf.

    Keywords are options of ``[neutron]`` but for ``user`` and ``region``.
    """
    numbers = itertools.count()
    made: list[NeutronVIFDriver] = []

    def build(**options: Any) -> NeutronVIFDriver:
        path = tmp_path / f'kuryr-{next(numbers)}.conf'
        made.append(make_driver(lab, path, **options))
        return made[-1]

    yield build
    for driver in made:
        driver.close()


@pytest.fixture
def driver(make: MakeDriver) -> NeutronVIFDriver:
    """A driver with the documented user; its calls are counted."""
    return make()


@pytest.fixture
def pod() -> model.Pod:
    uid = str(uuid.uuid4())
    return model.Pod('default', f'nginx-{uid[:5]}', uid, 'node-1')


@pytest.fixture
def eventually() -> Callable[[Callable[[], object], str], None]:
    """Waits for what happens in the servers by itself."""

    def wait(condition: Callable[[], object], what: str) -> None:
        wait_for(condition, 60, what)

    return wait
