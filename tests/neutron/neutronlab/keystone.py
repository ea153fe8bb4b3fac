# SPDX-License-Identifier: Apache-2.0
"""Keystone: configuration, users, roles and the service catalogue."""

from __future__ import annotations

import pathlib
from typing import Any

import openstack
from servers import ReservedPort, Server

CONFIGURATION = """\
[database]
connection = sqlite:///{folder}/keystone.sqlite
sqlite_synchronous = false
[fernet_tokens]
key_repository = {folder}/fernet-keys
[fernet_receipts]
key_repository = {folder}/fernet-keys
[identity]
password_hash_algorithm = pbkdf2_sha512
password_hash_rounds = 1000
[DEFAULT]
use_stderr = true
"""

REMOTE = pathlib.Path(__file__).parent / 'remote'

USERS = {
    'neutron': ('service', ('admin', 'service')),
    'kuryr': ('k8s', ('member', 'service')),
    'kuryr-admin': ('k8s', ('admin', 'service')),
    'cloud-admin': ('k8s', ('admin',)),
    'service-only': ('k8s', ('service',)),
    'member': ('k8s', ('member',)),
    'learner': ('k8s', ('member',)),
    'tenant': ('tenant', ('member',)),
}
"""User to project and roles. ``kuryr`` is what the documentation tells to
make: binding:profile wants ``service``, everything else ``member``."""


class Keystone:
    """A fresh Keystone in ``folder``."""

    def __init__(
        self,
        python: pathlib.Path,
        folder: pathlib.Path,
        port: ReservedPort,
        env: dict[str, str],
    ) -> None:
        folder.mkdir()
        conf = CONFIGURATION.format(folder=folder)
        (folder / 'keystone.conf').write_text(conf)
        self.url = f'{port.url}/v3'
        script = REMOTE / 'serve_keystone.py'
        self.server = Server(
            'keystone',
            [python, script, folder, str(port.number)],
            env,
            folder / 'keystone.log',
            self.url,
        )

    def auth(self, user: str, project: str) -> dict[str, str]:
        """The ``auth`` part of clouds.yaml."""
        return {
            'auth_url': self.url,
            'username': user,
            'password': f'{user}-pw',
            'project_name': project,
            'user_domain_name': 'Default',
            'project_domain_name': 'Default',
        }

    def connect(
        self, user: str = 'admin', project: str = 'admin', **more: Any
    ) -> Any:
        """An openstacksdk connection."""
        return openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth=self.auth(user, project),
            region_name='RegionOne',
            **more,
        )

    def populate(self, regions: dict[str, str]) -> None:
        """Make users, roles and the network service's endpoints.

        :param regions: name of region to URL of its Neutron.
        """
        with self.connect() as cloud:
            identity = cloud.identity
            service = identity.create_service(name='neutron', type='network')
            for region, url in regions.items():
                if region != 'RegionOne':
                    identity.create_region(id=region)
                identity.create_endpoint(
                    service_id=service.id,
                    interface='public',
                    region_id=region,
                    url=url,
                )
            roles = {role.name: role for role in identity.roles()}
            projects: dict[str, Any] = {}
            for user, (project, names) in USERS.items():
                if project not in projects:
                    projects[project] = identity.create_project(
                        name=project, domain_id='default'
                    )
                made = identity.create_user(
                    name=user, password=f'{user}-pw', domain_id='default'
                )
                for name in names:
                    identity.assign_project_role_to_user(
                        projects[project], made, roles[name]
                    )
