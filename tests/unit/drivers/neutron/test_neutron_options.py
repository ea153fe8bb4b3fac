# SPDX-License-Identifier: Apache-2.0
"""``[neutron]``: new options, those of keystoneauth, and older homes."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.config import loading
from kuryr_sriov.drivers.neutron import NeutronVIFDriver, neutron_options


def section(tmp_path: pathlib.Path, text: str) -> Any:
    path = tmp_path / 'kuryr.conf'
    path.write_text(text)
    conf = loading.load_config(files=[str(path)])
    return loading.read_section(conf, NeutronVIFDriver)


def test_file_of_kuryr_kubernetes_6(tmp_path: pathlib.Path) -> None:
    conf = section(
        tmp_path,
        '[neutron]\n'
        'auth_type = password\n'
        'auth_url = https://keystone.example.org/v3\n'
        'username = kuryr\n'
        'password = secret\n'
        'project_name = service\n'
        'project_domain_name = Default\n'
        'user_domain_name = Default\n'
        'cafile = /etc/ssl/ca.pem\n'
        '[neutron_defaults]\n'
        'project = 0a1b\n'
        'pod_security_groups = sg1,sg2\n'
        'resource_tags = kuryr\n',
    )

    assert conf.username == 'kuryr'
    assert conf.cafile == '/etc/ssl/ca.pem'
    found = neutron_options.read_defaults(conf, '')
    assert found.project == '0a1b'
    assert found.security_groups == ('sg1', 'sg2')
    assert found.all_tags == ('kuryr',)
    assert NeutronVIFDriver(conf)  # nothing is asked for yet


def test_cluster_is_a_tag(tmp_path: pathlib.Path) -> None:
    conf = section(tmp_path, '[neutron]\ncluster = blue\n')

    assert neutron_options.read_defaults(conf, '').all_tags == (
        'kuryr-sriov-cluster=blue',
    )


def test_the_uid_of_the_cluster_tells_its_ports_from_others(
    tmp_path: pathlib.Path,
) -> None:
    """Two clusters may have one name; people read the name."""
    conf = section(tmp_path, '[neutron]\ncluster = blue\n')

    named, known = (
        neutron_options.read_defaults(conf, uid) for uid in ('', 'uid-of-blue')
    )

    assert named.description == "kuryr-sriov port of cluster 'blue'"
    assert known.description == "kuryr-sriov port of cluster 'uid-of-blue'"
    assert known.all_tags == named.all_tags


def test_cluster_that_is_no_tag(tmp_path: pathlib.Path) -> None:
    with pytest.raises(exceptions.ConfigurationError, match='cluster'):
        section(tmp_path, '[neutron]\ncluster = blue,green\n')


PROJECT = '0a1b2c3d4e5f60718293a4b5c6d7e8f9'
GROUPS = (
    '3f1c1d2e-0000-4000-8000-000000000001',
    '3f1c1d2e-0000-4000-8000-000000000002',
)


def test_projects_and_groups_of_namespaces(tmp_path: pathlib.Path) -> None:
    conf = section(
        tmp_path,
        '[neutron]\n'
        f'namespace_projects = blue:{PROJECT}\n'
        f'namespace_security_groups = blue:{" ".join(GROUPS)}, red:{GROUPS[0]}'
        '\n',
    )

    found = neutron_options.read_defaults(conf, '')

    assert found.namespace_projects == {'blue': PROJECT}
    assert found.groups_of('blue') == GROUPS
    assert found.groups_of('red') == GROUPS[:1]


@pytest.mark.parametrize(
    ('text', 'what'),
    [
        (f'projects = Blue:{PROJECT}', "'Blue' is not a namespace"),
        ('projects = blue:service', "'service' (blue) is not an id"),
        (f'projects = blue:{PROJECT} {PROJECT}', 'blue has 2 ids'),
        ('projects = blue', "'blue' is not NAME:VALUE"),
        ('security_groups = blue:web', "'web' (blue) is not an id"),
    ],
)
def test_pairs_of_namespaces_that_are_wrong(
    tmp_path: pathlib.Path, text: str, what: str
) -> None:
    with pytest.raises(exceptions.ConfigurationError) as caught:
        section(tmp_path, f'[neutron]\nnamespace_{text}\n')

    option = f'[neutron] namespace_{text.partition(" ")[0]}'
    assert str(caught.value) == f'{option}: {what}; correct the value.'


@pytest.mark.parametrize('text', ['soon', '0', '-1', 'inf', 'nan'])
def test_wait_that_is_no_number_of_seconds(
    tmp_path: pathlib.Path, text: str
) -> None:
    conf = section(
        tmp_path, f'[neutron]\nactive_timeouts = intel.com/a:{text}\n'
    )

    with pytest.raises(exceptions.ConfigurationError) as caught:
        NeutronVIFDriver(conf)

    assert caught.value.problems == (
        f'[neutron] active_timeouts: intel.com/a:{text}: give the seconds '
        'to wait, as in intel.com/physnet22:30',
    )
