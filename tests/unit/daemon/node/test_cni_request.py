# SPDX-License-Identifier: Apache-2.0
"""What the runtime asks: checked, with the codes that CNI has."""

import json

import pytest

from kuryr_sriov_daemon.node.cni_request import (
    VERSIONS,
    CniError,
    read_request,
    valid_container_ids,
)

HEADERS = {
    'X-CNI-Command': 'ADD',
    'X-CNI-ContainerID': 'container1',
    'X-CNI-Netns': '/run/netns/pod1',
    'X-CNI-IfName': 'eth0',
    'X-CNI-Args': 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;'
    'K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=container1;'
    'K8S_POD_UID=uid-1',
    'X-CNI-Path': '/opt/cni/bin',
}
CONFIG = {'cniVersion': '1.0.0', 'name': 'pods', 'type': 'kuryr-sriov'}


def read(config=CONFIG, **changes):
    headers = {**HEADERS, **changes}
    body = config if isinstance(config, bytes) else json.dumps(config).encode()
    return read_request({k: v for k, v in headers.items() if v}, body)


def refused(*args, **changes):
    with pytest.raises(CniError) as caught:
        read(*args, **changes)
    return caught.value


def test_a_request_is_read():
    request = read()
    assert request.command == 'ADD'
    assert request.version == '1.0.0'
    assert request.container_id == 'container1'
    assert request.netns == '/run/netns/pod1'
    assert request.ifname == 'eth0'
    assert request.pod_namespace == 'default'
    assert request.pod_name == 'web'
    assert request.pod_uid == 'uid-1'
    assert request.config == CONFIG
    assert str(request) == 'CNI ADD container1 eth0 of pod default/web'


@pytest.mark.parametrize('version', VERSIONS)
def test_the_versions_of_the_plugin_are_those_of_the_daemon(version):
    assert read({**CONFIG, 'cniVersion': version}).version == version


@pytest.mark.parametrize('version', ['0.2.0', '2.0.0', '', None, 1, []])
def test_other_versions_are_incompatible(version):
    error = refused({**CONFIG, 'cniVersion': version})
    assert error.code == 1
    assert '0.3.1, 0.4.0, 1.0.0, 1.1.0' in str(error)


def test_a_configuration_without_version_is_of_a_version_long_gone():
    assert refused({'name': 'pods'}).code == 1


@pytest.mark.parametrize(
    'body',
    [b'', b'{', b'[]', b'7', b'\xff', b'[' * 100000],
    ids=['nothing', 'half', 'list', 'number', 'bytes', 'deep'],
)
def test_what_is_no_object_cannot_be_decoded(body):
    assert refused(body).code == 6


@pytest.mark.parametrize(
    ('command', 'needed'),
    [
        ('ADD', ['ContainerID', 'Netns', 'IfName']),
        ('CHECK', ['ContainerID', 'Netns', 'IfName']),
        ('DEL', ['ContainerID', 'IfName']),
    ],
)
def test_what_a_command_needs_is_named(command, needed):
    for header in needed:
        error = refused(**{'X-CNI-Command': command, f'X-CNI-{header}': None})
        assert error.code == 4
        assert f'CNI_{header.upper()}' in str(error)
        assert error.version == '1.0.0'


@pytest.mark.parametrize('command', ['GC', 'STATUS'])
def test_some_commands_are_about_no_sandbox(command):
    changes = {f'X-CNI-{name}': None for name in ('ContainerID', 'IfName')}
    assert read(**{'X-CNI-Command': command, **changes}).container_id == ''


def test_del_needs_no_network_namespace():
    request = read(**{'X-CNI-Command': 'DEL', 'X-CNI-Netns': None})
    assert request.netns == ''


@pytest.mark.parametrize('command', ['', 'VERSION', 'add', 'UPDATE', None])
def test_other_commands_are_unknown(command):
    error = refused(**{'X-CNI-Command': command})
    assert error.code == 4
    assert 'ADD, CHECK, DEL, GC, STATUS' in str(error)


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('ContainerID', '../etc'),
        ('ContainerID', '-x'),
        ('ContainerID', 'a b'),
        ('IfName', '.'),
        ('IfName', '..'),
        ('IfName', 'a/b'),
        ('IfName', 'a:b'),
        ('IfName', 'a b'),
        ('IfName', 'x' * 16),
    ],
)
def test_names_have_the_form_that_cni_gives_them(name, value):
    assert refused(**{f'X-CNI-{name}': value}).code == 4


def test_add_is_for_pods():
    assert refused(**{'X-CNI-Args': 'IgnoreUnknown=1'}).code == 4
    request = read(**{'X-CNI-Command': 'DEL', 'X-CNI-Args': None})
    assert request.pod_name == ''


def test_arguments_of_another_form_are_not_ours():
    args = 'x;;=;K8S_POD_NAME=web;a=b=c'
    request = read(**{'X-CNI-Args': args})
    assert (request.pod_name, request.pod_uid) == ('web', '')


@pytest.mark.parametrize(
    ('more', 'device'),
    [
        ({}, ''),
        ({'deviceID': '0000:02:10.0'}, '0000:02:10.0'),
        ({'runtimeConfig': {'deviceID': '0000:02:10.0'}}, '0000:02:10.0'),
        ({'pciBusID': '0000:02:10.0'}, '0000:02:10.0'),
        ({'deviceID': 7, 'runtimeConfig': [], 'pciBusID': None}, ''),
    ],
)
def test_the_device_that_multus_chose_is_found(more, device):
    assert read({**CONFIG, **more}).device_id == device


def test_a_previous_result_is_an_object():
    assert read().previous is None
    assert read({**CONFIG, 'prevResult': []}).previous is None
    assert read({**CONFIG, 'prevResult': {}}).previous == {}


KEY = 'cni.dev/valid-attachments'


@pytest.mark.parametrize(
    ('value', 'ids'),
    [
        ([], set()),
        (
            [
                {'containerID': 'a', 'ifname': 'eth0'},
                {'containerID': 'b', 'ifname': 'eth0'},
            ],
            {'a', 'b'},
        ),
    ],
)
def test_gc_is_told_which_sandboxes_are_valid(value, ids):
    assert valid_container_ids({KEY: value}) == ids


def test_gc_without_the_key_is_told_nothing():
    assert valid_container_ids({}) is None


@pytest.mark.parametrize(
    'value',
    [
        None,
        'a',
        {'containerID': 'a', 'ifname': 'eth0'},
        [['a', 'eth0']],
        [{}],
        [{'containerID': ''}],
    ],
)
def test_gc_that_is_told_in_another_form_is_refused(value):
    with pytest.raises(CniError, match='nothing was deleted') as caught:
        valid_container_ids({KEY: value})
    assert caught.value.code == 7
