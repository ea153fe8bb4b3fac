# SPDX-License-Identifier: Apache-2.0
"""serve_neutron.py FOLDER PORT [HOST:PHYSNET=PF[,...][!]]...: a real Neutron.

Runs in the servers' environment. API, server-side RPC and one SR-IOV agent
per HOST share this process, joined by oslo.messaging's in-memory transport.

The agents are Neutron's own but for their view of the kernel: the VFs that
are in use on each host are read from FOLDER/vfs.json, which tests replace
by renaming: ``{"node-1": [{"mac": ..., "pci_slot": ...}]}``. A second
process without agents may share FOLDER and PORT, to use another core; the
agents do not hear of what it does until they look by themselves.
"""

import collections
import contextlib
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import types

FOLDER = pathlib.Path(sys.argv[1])
PORT = int(sys.argv[2])
AGENTS = sys.argv[3:]
sys.argv[1:] = []  # Neutron hands what is left to oslo.config
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from oslo_service import backend  # noqa: E402

backend.init_backend(backend.BackendType.THREADING)

import neutron_schema  # noqa: E402
import sqlalchemy as sa  # noqa: E402
import waitress  # noqa: E402
from oslo_db import exception as db_exception  # noqa: E402
from oslo_db.sqlalchemy import (  # noqa: E402
    enginefacade,
    engines,
    exc_filters,
)
from oslo_messaging._drivers import impl_fake  # noqa: E402
from oslo_serialization import jsonutils  # noqa: E402
from sqlalchemy.engine import Engine  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402


@exc_filters.filters(
    'sqlite', sa.exc.OperationalError, r'.*database is locked.*'
)
def _locked_is_deadlock(error, match, engine_name, is_disconnect):
    # MySQL says deadlock where SQLite says locked, and Neutron retries that
    raise db_exception.DBDeadlock(error)


@sa.event.listens_for(Engine, 'begin')
def _leave_begin_to_session(connection):
    connection.info['in_transaction'] = True  # oslo.db would say BEGIN


@sa.event.listens_for(Session, 'after_begin')
def _begin(session, transaction, connection):
    if not connection.connection.dbapi_connection.in_transaction:
        connection.exec_driver_sql(session.info['begin'])


def _create_session(self, mode, bind=None):
    session = _create_plain_session(self, mode, bind)
    # a writer waits for its turn; SQLite would refuse it at once if it had
    # read before. A reader never waits: a writer may start one within.
    writes = mode is enginefacade._WRITER
    session.info['begin'] = 'BEGIN IMMEDIATE' if writes else 'BEGIN'
    return session


_create_plain_session = enginefacade._TransactionFactory._create_session
enginefacade._TransactionFactory._create_session = _create_session


class _KeptConnections(sa.pool.QueuePool):
    """Any number of connections, each used again.

    oslo.db opens a connection per transaction where the database is SQLite,
    and each of them reads the schema of 200 tables first.
    """

    def __init__(self, creator, **kwargs):
        super().__init__(creator, **kwargs | {'pool_size': 0})


engines.pool = types.SimpleNamespace(
    **vars(sa.pool) | {'NullPool': _KeptConnections}
)


def _send_as_json(self, target, context, message, *args, **kwargs):
    # a broker hands over JSON; this transport would hand over the objects
    message = jsonutils.loads(jsonutils.dumps(message))
    return _send(self, target, context, message, *args, **kwargs)


_send = impl_fake.FakeDriver._send
impl_fake.FakeDriver._send = _send_as_json

if not (FOLDER / 'neutron.sqlite').exists():
    neutron_schema.create(FOLDER / 'neutron.sqlite')
os.environ['OS_NEUTRON_CONFIG_DIR'] = str(FOLDER)
os.environ['OS_NEUTRON_CONFIG_FILES'] = 'neutron.conf'

from neutron import policy  # noqa: E402
from neutron.agent import rpc as agent_rpc  # noqa: E402
from neutron.conf.plugins.ml2.drivers.mech_sriov import (  # noqa: E402
    agent_common,
)
from neutron.plugins.ml2 import ovo_rpc  # noqa: E402
from neutron.plugins.ml2.drivers.agent import config as _  # noqa: E402, F401
from neutron.plugins.ml2.drivers.mech_sriov.agent import (  # noqa: E402
    sriov_nic_agent,
)

# objects pushed to agents' caches: only OVS and DHCP agents keep such, and
# reading every port again for them costs a sixth of each request
ovo_rpc.OVOServerRpcInterface = lambda: None

from neutron.wsgi.api import application  # noqa: E402
from neutron_lib.plugins import directory  # noqa: E402
from oslo_config import cfg  # noqa: E402
from oslo_log import log as logging  # noqa: E402

LOG = logging.getLogger('serve_neutron')


class VfsFromFile:
    """What the agent asks of the kernel, answered from FOLDER/vfs.json."""

    def __init__(self, host):
        self.host = host

    def discover_devices(self, *args):
        pass

    def get_assigned_devices_info(self, phys_net=None):
        try:
            vfs = json.loads((FOLDER / 'vfs.json').read_text())
        except FileNotFoundError:
            return set()
        return {
            agent_rpc.DeviceInfo(vf['mac'], vf['pci_slot'])
            for vf in vfs.get(self.host, ())
        }

    def device_exists(self, mac, pci_slot):
        device = agent_rpc.DeviceInfo(mac, pci_slot)
        return device in self.get_assigned_devices_info()

    def set_device_spoofcheck(self, *args):
        LOG.info('%s: spoofchk %s', self.host, args)

    def set_device_state(self, *args):
        LOG.info('%s: link state %s', self.host, args)


class Agent(sriov_nic_agent.SriovNicSwitchAgent):
    """The SR-IOV agent of one host, beside those of others."""

    def __init__(self, host, mappings):
        self._host = host
        interval = cfg.CONF.AGENT.polling_interval
        super().__init__(mappings, {}, interval, {}, {}, {})
        # the agent gives cfg.CONF.host, of which a process has only one
        down = self.plugin_rpc.update_device_down

        def update_device_down(context, device, agent_id, _host=None):
            return down(context, device, agent_id, host)

        self.plugin_rpc.update_device_down = update_device_down

    def setup_eswitch_mgr(self, *args):
        self.conf = types.SimpleNamespace(
            host=self._host, AGENT=cfg.CONF.AGENT
        )
        self.eswitch_mgr = VfsFromFile(self._host)

    def _create_agent_extension_manager(self, connection):
        return types.SimpleNamespace(
            names=lambda: [],
            handle_port=lambda *args: None,
            delete_port=lambda *args: None,
        )


def start_agent(text):
    """Run the agent described by HOST:PHYSNET=PF[,PHYSNET=PF]...

    With a ``!`` behind, it reports its state once and never again.
    """
    dying = text.endswith('!')
    host, _colon, maps = text.rstrip('!').partition(':')
    mappings = collections.defaultdict(list)
    for item in maps.split(','):
        physnet, _equals, pf = item.partition('=')
        mappings[physnet].append(pf)
    cfg.CONF.set_override('host', host)  # it names the agent's RPC queues
    agent = Agent(host, dict(mappings))
    cfg.CONF.clear_override('host')
    if dying:
        agent.heartbeat['event'].set()
    threading.Thread(target=agent.daemon_loop, daemon=True).start()


def main():
    # first requests at the same time would find it half loaded: 403
    policy.init()
    for plugin in directory.get_unique_plugins():
        with contextlib.suppress(NotImplementedError):
            getattr(plugin, 'start_rpc_listeners', list)()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(('127.0.0.1', PORT))
    server = waitress.create_server(application, sockets=[listener], threads=8)
    threading.Thread(target=server.run, daemon=True).start()
    (FOLDER / f'listening-{os.getpid()}').touch()

    agent_common.register_agent_sriov_nic_opts()
    set_handler = signal.signal
    signal.signal = lambda *args: None  # agents try to, from their threads
    for text in AGENTS:
        start_agent(text)
    stop = threading.Event()
    set_handler(signal.SIGTERM, lambda *args: stop.set())
    while not stop.wait(0.2):
        pass
    os._exit(0)  # agents never end by themselves


main()
