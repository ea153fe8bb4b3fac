# SPDX-License-Identifier: Apache-2.0
"""What is installed says in its files what the daemons expect."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import yaml

from kuryr_sriov import load_config
from kuryr_sriov_daemon.options import register_daemon_options

REPOSITORY = pathlib.Path(__file__).parents[3]
DEPLOY = REPOSITORY / 'deploy'
HOWTO = REPOSITORY / 'examples/howto'


@pytest.fixture
def conf() -> Any:
    """The options' defaults."""
    return register_daemon_options(load_config(files=[]))


def manifest(name: str) -> Any:
    return yaml.safe_load((DEPLOY / 'base' / f'{name}.yaml').read_text())


def pod_of(name: str) -> tuple[Any, Any]:
    """The pod's specification, and that of its only container."""
    spec = manifest(name)['spec']['template']['spec']
    (container,) = spec['containers']
    return spec, container


@pytest.mark.parametrize('name', ['kuryr.conf', 'subnets.yaml'])
def test_the_local_overlay_is_the_how_to(name: str) -> None:
    overlay = DEPLOY / 'overlays/local' / name
    assert overlay.read_text() == (HOWTO / name).read_text()


def test_the_neutron_overlay_differs_from_the_how_to_in_its_driver() -> None:
    overlay = load_config(files=[str(DEPLOY / 'overlays/neutron/kuryr.conf')])
    howto = load_config(files=[str(HOWTO / 'kuryr.conf')])
    assert overlay.sriov.vif_driver == 'neutron'
    names = {name for name in howto.sriov if name != 'vif_driver'}
    assert {name: overlay.sriov[name] for name in names} == {
        name: howto.sriov[name] for name in names
    }


def test_the_node_has_the_folders_that_its_options_name(conf: Any) -> None:
    spec, container = pod_of('node')
    paths = {
        each['name']: each['hostPath']['path']
        for each in spec['volumes']
        if 'hostPath' in each
    }
    mounted = {
        each['mountPath']
        for each in container['volumeMounts']
        if paths.get(each['name']) == each['mountPath']
    }
    assert mounted == {
        str(pathlib.Path(conf.sriov_node.cni_socket).parent),
        conf.sriov_node.cni_conf_dir,
        conf.sriov_node.cni_bin_dir,
        conf.sriov.state_dir,
        f'{conf.sriov.kubelet_root_dir}/pod-resources',
        '/run/netns',
        '/sys',
    }


def test_the_image_has_the_plugin_where_the_daemon_takes_it(conf: Any) -> None:
    lines = (DEPLOY / 'Containerfile').read_text().splitlines()
    (line,) = (each for each in lines if '/out/' in each and 'COPY' in each)
    assert line.split()[-1] == conf.sriov_node.plugin


def test_the_node_has_the_time_to_finish_its_requests(conf: Any) -> None:
    spec, _ = pod_of('node')
    assert (
        spec['terminationGracePeriodSeconds'] > conf.sriov_node.drain_timeout
    )


def test_the_probes_ask_where_the_daemons_listen(conf: Any) -> None:
    _, node = pod_of('node')
    for probe in ('livenessProbe', 'readinessProbe'):
        asked = node[probe]['httpGet']
        assert asked['host'] == conf.sriov_node.http_host
        assert asked['port'] == conf.sriov_node.http_port
    _, controller = pod_of('controller')
    (port,) = controller['ports']
    assert port['containerPort'] == conf.sriov_controller.http_port


def test_the_node_knows_its_daemonset_by_name() -> None:
    _, container = pod_of('node')
    env = {each['name']: each.get('value') for each in container['env']}
    assert env['DAEMONSET_NAME'] == manifest('node')['metadata']['name']


@pytest.mark.parametrize('name', ['node', 'controller'])
def test_a_container_has_no_right_that_is_not_said(name: str) -> None:
    spec, container = pod_of(name)
    context = container['securityContext']
    pod = spec.get('securityContext', {})
    assert context['readOnlyRootFilesystem']
    assert context['allowPrivilegeEscalation'] is False
    assert context['capabilities']['drop'] == ['ALL']
    assert 'privileged' not in context
    seccomp = context.get('seccompProfile') or pod['seccompProfile']
    assert seccomp == {'type': 'RuntimeDefault'}
    assert not spec.get('hostPID')
    assert not spec.get('hostIPC')


def test_the_controller_is_nobody_and_the_node_says_each_capability() -> None:
    spec, container = pod_of('controller')
    assert spec['securityContext']['runAsNonRoot']
    assert 'add' not in container['securityContext']['capabilities']
    _, container = pod_of('node')
    added = container['securityContext']['capabilities']['add']
    text = (DEPLOY / 'base/node.yaml').read_text().splitlines()
    for capability in added:
        (line,) = (each for each in text if f'- {capability}' in each)
        assert '#' in line, f'{capability}: say why'
    assert set(added) == {'NET_ADMIN', 'NET_RAW', 'SYS_ADMIN'}
