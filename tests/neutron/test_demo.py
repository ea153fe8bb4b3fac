# SPDX-License-Identifier: Apache-2.0
"""The demo on a real Neutron: its ports, on a simulated node."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import yaml
from neutronlab.lab import Lab

from kuryr_sriov.cmd import main


@pytest.fixture
def cloud(
    lab: Lab, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Name of a cloud in clouds.yaml, as the documented user has it."""
    entry = {'auth': lab.auth(), 'region_name': 'RegionOne'}
    file = tmp_path / 'clouds.yaml'
    file.write_text(yaml.safe_dump({'clouds': {'lab': entry}}))
    monkeypatch.setenv('OS_CLIENT_CONFIG_FILE', str(file))
    return 'lab'


def test_the_how_to_runs_on_a_cloud(
    cloud: str, lab: Lab, admin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    subnets = f'{lab.net22.subnet},{lab.net23.subnet}'
    status = main.main(
        [
            *('demo', '--json', '--cloud', cloud),
            *('--node', 'node-1', '--subnets', subnets),
        ]
    )
    report = json.loads(capsys.readouterr().out)
    assert status == 0
    assert [vif['vlan'] for vif in report['promised']] == [3501, 3502]
    assert [vif['settings']['vlan'] for vif in report['bound']] == [3501, 3502]
    assert all(report['given_back'].values())
    assert list(admin.network.ports()) == []


def test_a_subnet_that_is_not_there_is_named(
    cloud: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(['demo', '--cloud', cloud, '--subnets', 'a,b']) == 1
    assert "0 subnets 'a'" in capsys.readouterr().err


def test_a_host_without_agent_leaves_no_port(
    cloud: str, lab: Lab, admin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    subnets = f'{lab.net22.subnet},{lab.net23.subnet}'
    status = main.main(
        ['demo', '--cloud', cloud, '--node', 'absent', '--subnets', subnets]
    )
    assert status == 1
    assert 'absent' in capsys.readouterr().err
    assert list(admin.network.ports()) == []
