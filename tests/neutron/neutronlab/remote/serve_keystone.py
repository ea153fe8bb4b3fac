# SPDX-License-Identifier: Apache-2.0
"""serve_keystone.py FOLDER PORT: a fresh Keystone (SQLite, Fernet).

Runs in the servers' environment. Tables and the administrator are made in
the serving process: keystone-manage would import Keystone twice more.
"""

import base64
import os
import pathlib
import socket
import sys

folder = pathlib.Path(sys.argv[1])
port = int(sys.argv[2])
sys.argv[1:] = []
os.environ['OS_KEYSTONE_CONFIG_DIR'] = str(folder)
os.environ['OS_KEYSTONE_CONFIG_FILES'] = 'keystone.conf'


def make_keys() -> None:
    """Fernet keys: 0 is staged, 1 is the primary one."""
    keys = folder / 'fernet-keys'
    keys.mkdir(mode=0o700)
    for name in ('0', '1'):
        key = base64.urlsafe_b64encode(os.urandom(32))
        path = keys / name
        path.write_bytes(key)
        path.chmod(0o600)


make_keys()  # Keystone wants them when it is imported

import waitress  # noqa: E402
from keystone.cmd import bootstrap  # noqa: E402
from keystone.common.sql import upgrades  # noqa: E402
from keystone.wsgi.api import application  # noqa: E402


def make_administrator(url: str) -> None:
    """Domain, admin user, default roles, Keystone's own endpoints."""
    # it would load the back ends, which the application has done
    bootstrap.backends.load_backends = lambda: None
    work = bootstrap.Bootstrapper()
    work.admin_username = 'admin'
    work.admin_password = 'admin-pw'
    work.project_name = 'admin'
    work.admin_role_name = 'admin'
    work.service_name = 'keystone'
    work.region_id = 'RegionOne'
    work.public_url = work.internal_url = work.admin_url = url
    work.bootstrap()


upgrades.offline_sync_database_to_version()
make_administrator(f'http://127.0.0.1:{port}/v3')
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(('127.0.0.1', port))
waitress.serve(application, sockets=[listener], threads=4)
