# SPDX-License-Identifier: Apache-2.0
"""All mistakes at once, by loading nothing that the process does not need."""

import subprocess
import sys

import pytest

from kuryr_sriov import ConfigurationError, check_config, load_config

PROGRAM = """
import sys
from kuryr_sriov import check_config, load_config
conf = load_config(files=[sys.argv[1]])
print(check_config(conf, sys.argv[2]))
print(*sys.modules)
"""
CONF = """
[sriov]
vif_driver = {driver}
enable_pod_resource_service = True
resource_driver_mappings = physnet22:vfio-pci,physnet23:netdevice
"""


@pytest.fixture
def write(tmp_path):
    def write(text='', driver='local'):
        file = tmp_path / 'kuryr.conf'
        file.write_text(CONF.format(driver=driver) + text)
        return load_config(files=[str(file)])

    return write


@pytest.mark.parametrize(
    ('side', 'foreign'),
    [
        ('node', 'openstack'),
        ('controller', 'grpc'),
    ],
)
def test_nothing_of_the_other_side_is_loaded(tmp_path, side, foreign):
    file = tmp_path / 'kuryr.conf'
    file.write_text(CONF.format(driver='neutron'))
    ended = subprocess.run(
        [sys.executable, '-c', PROGRAM, str(file), side],
        check=True,
        capture_output=True,
        text=True,
    )
    first, modules = ended.stdout.splitlines()
    assert first == '()'
    assert foreign not in {name.partition('.')[0] for name in modules.split()}


def test_the_sections_of_one_sides_plugins_are_read(write):
    conf = write('[sriov_local]\ndatabase_timeout = x\n')
    with pytest.raises(ConfigurationError, match='database_timeout'):
        check_config(conf, 'controller')
    assert check_config(conf, 'node') == ()


def test_a_misspelt_name_of_a_plugins_section_is_told(write):
    conf = write('[sriov_local]\ndatabse = x\n')
    (sentence,) = check_config(conf, 'controller')
    assert 'did you mean database?' in sentence


def test_a_plugin_that_is_not_installed_is_told_once(write):
    with pytest.raises(ConfigurationError) as raised:
        check_config(write(driver='nutron'), 'controller')
    (problem,) = raised.value.problems
    assert 'nutron' in problem
