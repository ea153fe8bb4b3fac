# SPDX-License-Identifier: Apache-2.0
"""Who we are: roles, passwords, tokens, clouds.yaml, and no secret told."""

from __future__ import annotations

import logging
import pathlib
import traceback
from typing import Any

import pytest
import yaml
from neutronlab.kuryr import MakeDriver, how_to, location, request
from neutronlab.lab import REGION, Lab

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients.neutron import NeutronDenied
from kuryr_sriov.drivers.neutron import NeutronVIFDriver


def test_administrator_lacks_the_service_role(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    driver = make(user='cloud-admin')
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])

    with pytest.raises(NeutronDenied) as caught:
        driver.activate_vif(pod, vif, location(vif))

    assert caught.value.type == 'PolicyNotAuthorized'
    assert '"admin" alone does not have it' in str(caught.value)
    assert 'role "service"' in driver.preflight(driver.conf)[0]
    driver.release_vifs(pod)


@pytest.mark.parametrize('user', ['member', 'tenant'])
def test_member_lacks_the_service_role(
    make: MakeDriver, lab: Lab, pod: model.Pod, user: str
) -> None:
    driver = make(user=user)

    with pytest.raises(NeutronDenied) as caught:
        driver.request_vifs(pod, how_to(driver, lab))

    assert caught.value.type == 'PolicyNotAuthorized'
    assert 'the roles "member" and "service"' in str(caught.value)
    assert list(lab.admin.network.ports()) == []


def test_service_without_member_leaves_no_untagged_port(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    driver = make(user='service-only')

    with pytest.raises(exceptions.ProviderDenied):
        driver.request_vifs(pod, [request(driver, lab.net22)])

    assert list(lab.admin.network.ports()) == []


def test_documented_user_passes_the_preflight(
    driver: NeutronVIFDriver,
) -> None:
    assert driver.preflight(driver.conf) == ()


def test_who_may_read_provider_attributes_is_told_physnet_and_vlan(
    driver: NeutronVIFDriver, make: MakeDriver, lab: Lab
) -> None:
    seen = make(user='kuryr-admin').describe_subnet(lab.net22.subnet)
    unseen = driver.describe_subnet(lab.net22.subnet)

    assert (seen.physnet, seen.vlan) == ('physnet22', 3501)
    assert (unseen.physnet, unseen.vlan) == ('', None)


def test_port_of_another_project_cannot_be_had(
    driver: NeutronVIFDriver, make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])
    stranger = make(user='tenant')

    stranger.release_vifs(pod)
    assert list(stranger.list_vifs()) == []

    assert lab.admin.network.find_port(vif.id)


def test_wrong_password_is_told_without_the_password(
    make: MakeDriver, lab: Lab
) -> None:
    driver = make(password='let-me-in')

    with pytest.raises(exceptions.ProviderDenied) as caught:
        driver.describe_subnet(lab.net22.subnet)

    assert 'Keystone refuses the credentials' in str(caught.value)
    text = ''.join(traceback.format_exception(caught.value))
    assert 'let-me-in' not in text


def test_no_secret_is_logged(
    make: MakeDriver,
    lab: Lab,
    pod: model.Pod,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    driver = make()

    driver.request_vifs(pod, [request(driver, lab.net22)])
    driver.release_vifs(pod)

    token = lab.proxy.calls[-1].headers['X-Auth-Token']
    assert 'kuryr-pw' not in caplog.text
    assert token not in caplog.text


def test_unknown_region_and_missing_credentials(
    make: MakeDriver, lab: Lab
) -> None:
    with pytest.raises(exceptions.ConfigurationError, match='Nowhere'):
        make(region='Nowhere').describe_subnet(lab.net22.subnet)
    nobody = make(auth_url=None, auth_type=None)
    with pytest.raises(exceptions.ConfigurationError, match='auth_type'):
        nobody.describe_subnet(lab.net22.subnet)
    with pytest.raises(exceptions.ConfigurationError, match='password1'):
        make(auth_type='password1').describe_subnet(lab.net22.subnet)


def test_interface_without_endpoint(make: MakeDriver, lab: Lab) -> None:
    driver = make(interface='admin')

    with pytest.raises(exceptions.ConfigurationError):
        driver.describe_subnet(lab.net22.subnet)


def test_endpoint_override(make: MakeDriver, lab: Lab) -> None:
    driver = make(region=REGION, endpoint_override=f'{lab.proxy.url}/v2.0')

    with lab.proxy.counted() as calls:
        driver.describe_subnet(lab.net22.subnet)

    assert f'GET /v2.0/subnets/{lab.net22.subnet}' in calls


def test_clouds_yaml(
    make: MakeDriver,
    lab: Lab,
    pod: model.Pod,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clouds = {'lab': {'auth': lab.auth(), 'region_name': REGION}}
    path = tmp_path / 'clouds.yaml'
    path.write_text(yaml.safe_dump({'clouds': clouds}))
    monkeypatch.setenv('OS_CLIENT_CONFIG_FILE', str(path))
    none: dict[str, Any] = dict.fromkeys(lab.auth())

    driver = make(cloud='lab', region=None, auth_type=None, **none)
    assert driver.request_vifs(pod, [request(driver, lab.net22)])
    driver.release_vifs(pod)

    unknown = make(cloud='sky', region=None, auth_type=None, **none)
    with pytest.raises(exceptions.ConfigurationError, match='sky'):
        unknown.describe_subnet(lab.net22.subnet)


def test_revoked_token_is_replaced(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    access = driver._client._get_adapter().session.auth.get_access(
        driver._client._get_adapter().session
    )
    cloud = lab.keystone.connect()
    cloud.identity.delete(
        '/auth/tokens', headers={'X-Subject-Token': access.auth_token}
    )

    vifs = driver.request_vifs(pod, how_to(driver, lab))

    assert len(vifs) == 2
    assert lab.proxy.calls[-1].headers['X-Auth-Token'] != access.auth_token


def test_keystone_down_then_up(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    driver = make(auth_url='http://127.0.0.1:1/v3')

    with pytest.raises(exceptions.ProviderUnavailable) as caught:
        driver.describe_subnet(lab.net22.subnet)

    assert '127.0.0.1' in str(caught.value)


def test_a_role_that_is_given_later_is_enough(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    """Without a restart: the token of before is not used for ever."""
    driver = make(user='learner')
    with pytest.raises(exceptions.ProviderDenied, match='"service"'):
        driver.request_vifs(pod, [request(driver, lab.net22)])
    cloud = lab.keystone.connect()
    user = cloud.identity.find_user('learner')
    role = cloud.identity.find_role('service')
    project = cloud.identity.find_project('k8s')

    cloud.identity.assign_project_role_to_user(project, user, role)

    assert driver.request_vifs(pod, [request(driver, lab.net22)])
    driver.release_vifs(pod)


def test_a_password_that_is_corrected_in_clouds_yaml_is_read(
    make: MakeDriver,
    lab: Lab,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / 'clouds.yaml'

    def write(**more: str) -> None:
        auth = {**lab.auth(), **more}
        clouds = {'lab': {'auth': auth, 'region_name': REGION}}
        path.write_text(yaml.safe_dump({'clouds': clouds}))

    monkeypatch.setenv('OS_CLIENT_CONFIG_FILE', str(path))
    none: dict[str, Any] = dict.fromkeys(lab.auth())
    driver = make(cloud='lab', region=None, auth_type=None, **none)
    write(password='of yesterday')
    with pytest.raises(exceptions.ProviderDenied):
        driver.describe_subnet(lab.net22.subnet)

    write()

    assert driver.describe_subnet(lab.net22.subnet).mtu == 1500
