# SPDX-License-Identifier: Apache-2.0
"""What crosses a process or a release is as it was released.

A test that fails here has found a change that somebody else will meet: the
next release, the last one, another daemon or a vendor's driver. Its message
says what may be changed, and how. Then change the file in ``shapes`` too.
"""

import contextlib
import dataclasses
import inspect
import json
import sqlite3
import types
from pathlib import Path

import pytest
from values import VIF

from kuryr_sriov import codec, model, plugins
from kuryr_sriov.allocations.base import Allocations
from kuryr_sriov.binding.base import BindingDriver, Host, Links, Pci, Rdma
from kuryr_sriov.clients.kubernetes.objects import Kubernetes
from kuryr_sriov.clients.kubernetes.session import KubernetesSession
from kuryr_sriov.drivers import local
from kuryr_sriov.drivers.base import PodSubnetsDriver, PodVIFDriver
from kuryr_sriov.drivers.local import database
from kuryr_sriov.handlers.hooks import AttachmentHook
from kuryr_sriov.host import ledger, ledger_file
from kuryr_sriov.npwg import requests, status

SHAPES = Path(__file__).parent / 'shapes'

VALUES = """
Daemons of two releases read these from each other, the ledger and databases.
A field may be added, with a default. To rename, remove or retype one, raise
the SCHEMA of ledger and local database, migrate, and keep reading the old."""
TABLES = """
Files of the last release have these tables. Raise SCHEMA, migrate, keep the
old file here, and test that the migration reads it."""
OTHERS = """
Others read this, by a specification or an old release. Add keys; do not
rename or remove any, nor change what one means."""
CONTRACTS = """
Vendors' drivers call and implement these. See kuryr_sriov.plugins: a new
method has a body, and raises the newest version; what breaks drivers raises
the oldest, too."""

POD = model.Pod('default', 'nginx', 'uid-1', 'node1')
ATTACHMENT = model.Attachment(
    sandbox=model.Sandbox('c0ffee', '/run/netns/cni-1', POD),
    vif=VIF,
    pci='0000:02:10.0',
    driver='netdevice',
    pf='0000:02:00.0',
    original=model.VfState(
        driver='igbvf',
        ifname='ens6v0',
        mac='02:00:00:00:00:01',
        mtu=1500,
        alias='spare',
        up=True,
        settings=model.VfSettings(
            mac='00:00:00:00:00:00',
            vlan=0,
            vlan_qos=0,
            vlan_proto='802.1q',
            min_tx_rate=0,
            max_tx_rate=0,
            spoofchk=True,
            trust=False,
            link_state='auto',
        ),
    ),
    boot_id='5c7a2b1e-6d3f-4e8a-9b0c-1d2e3f405162',
    done=True,
)
ATTACHED = model.AttachedVif(
    vif=VIF,
    location=model.Location('node1', '0000:02:10.0', '8086:10ca', 'physnet22'),
    device_info=model.DeviceInfo(
        '0000:02:10.0', '0000:02:00.0', 'mlx5_2', ('/dev/vfio/17',)
    ),
    driver='netdevice',
)
STORED = (
    model.Attachment,
    model.Sandbox,
    model.Pod,
    model.Vif,
    model.Policy,
    model.Route,
    model.VfState,
    model.VfSettings,
)


def pinned(name):
    return (SHAPES / name).read_text()


def pretty(value):
    return json.dumps(value, indent=1) + '\n'


def fields(cls):
    """A line for each field: name, type and default."""
    yield cls.__name__
    for field in dataclasses.fields(cls):
        default = (
            ''
            if field.default is dataclasses.MISSING
            else (f' = {field.default!r}')
        )
        if field.default_factory is not dataclasses.MISSING:
            default = f' = {field.default_factory()!r}'
        yield f'    {field.name}: {field.type}{default}'


def methods(cls):
    """A line for each method and attribute that others use."""
    path = f'{cls.__module__}:{cls.__qualname__}'
    kinds = (kind for kind in plugins.KINDS if kind.contract == path)
    versions = [f' {kind.oldest} to {kind.newest}' for kind in kinds]
    yield ''.join([cls.__name__, *dict.fromkeys(versions)])
    abstract = getattr(cls, '__abstractmethods__', ())
    for name, thing in vars(cls).items():
        ours = getattr(thing, '__module__', cls.__module__) == cls.__module__
        if name == 'contract' or not ours or name[0] == '_' != name[1]:
            continue
        kind = 'abstract ' if name in abstract else ''
        thing = getattr(thing, '__func__', thing)  # of a class method
        if inspect.isfunction(thing):
            yield f'    {kind}{name}{inspect.signature(thing)}'
        elif name[0] != '_':
            yield f'    {name}'


def schema(path):
    """The tables of a SQLite file, and how it says which they are."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute('SELECT sql FROM sqlite_master').fetchall()
        numbers = [
            f'PRAGMA {pragma} = '
            f'{connection.execute(f"PRAGMA {pragma}").fetchone()[0]}'
            for pragma in ('application_id', 'user_version')
        ]
    connection.close()
    statements = [row[0] for row in rows if row[0]] + numbers
    return ''.join(f'{statement};\n' for statement in statements)


class Recorder(KubernetesSession):
    """Keeps what would have been sent."""

    def call(self, method, path, body=None, *args, query=None, missing=None):
        self.sent = {'path': f'{method} {path}', 'query': query, 'body': body}
        return body


def subnet(subnet_id):
    return model.Subnet(subnet_id, 'net', 'physnet22', '192.168.2.0/24')


@pytest.fixture
def local_conf(tmp_path):
    file = tmp_path / 'subnets.yaml'
    file.write_text(
        'subnets:\n- {id: subnet-1, network: net, physnet: physnet22, '
        'cidr: 192.168.2.0/24}\n'
    )
    return types.SimpleNamespace(
        subnets_file=str(file),
        database=str(tmp_path / 'local.sqlite'),
        database_timeout=5.0,
    )


REQUEST = model.NetworkRequest(
    'default',
    'sriov-net1',
    'net1',
    subnet_ids=('subnet-1',),
    resource='intel.com/physnet22',
    ips=('192.168.2.7',),
    mac='fa:16:3e:00:00:01',
    gateways=('192.168.2.1',),
    subnets=(subnet('subnet-1'),),
)


# What is written is what was released.


def test_values():
    lines = [line for cls in STORED for line in fields(cls)]
    assert '\n'.join([*lines, '']) == pinned('values.txt'), VALUES


def test_attachment():
    written = pretty(codec.to_builtins(ATTACHMENT))
    assert written == pinned('attachment-2.json'), VALUES


def test_port():
    recorder = Recorder()
    Kubernetes(recorder).publish(POD, [VIF], 'digest')
    assert pretty(recorder.sent) == pinned('port-1.json'), OTHERS


def test_network_status_and_device_info():
    written = status.network_status([ATTACHED])
    assert pretty(written) == pinned('network-status.json'), OTHERS


def test_contracts():
    drivers = BindingDriver, PodSubnetsDriver, PodVIFDriver
    node = Host, Pci, Links, Rdma
    contracts = *drivers, Allocations, AttachmentHook, *node
    lines = [line for cls in contracts for line in methods(cls)]
    assert '\n'.join([*lines, '']) == pinned('contracts.txt'), CONTRACTS


def test_ledger(tmp_path):
    made = ledger.Ledger(tmp_path)
    made.all()
    made.close()
    name = f'ledger-{ledger_file.SCHEMA}.sql'
    assert schema(made.path) == pinned(name), TABLES


def test_local_database(local_conf):
    local.LocalVIFDriver(local_conf)
    written = schema(local_conf.database)
    name = f'local-{database.SCHEMA}.sql'
    assert written == pinned(name), TABLES


def test_the_local_databases_requests(local_conf):
    """Compared with those of later releases, when a pod asks again."""
    driver = local.LocalVIFDriver(local_conf)
    driver.request_vifs(POD, [REQUEST])
    with sqlite3.connect(local_conf.database) as connection:
        (text,) = connection.execute('SELECT request FROM vif').fetchone()
    connection.close()
    assert text == pinned('request-1.json').strip(), OTHERS


# What was released is read.


def test_an_annotation_in_full():
    body, nad = json.loads(pinned('annotations.json'))
    (entry,) = requests.entries_of(body)
    request = requests.request_of(entry, nad)
    assert dataclasses.replace(request, subnets=REQUEST.subnets) == REQUEST
    assert requests.pod_of(body) == POD


@pytest.mark.parametrize('version', range(1, ledger_file.SCHEMA + 1))
def test_a_ledger_of_each_schema(tmp_path, version):
    """Migrated, it has the tables of a new one, and all its records."""
    path = tmp_path / ledger_file.NAME
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(pinned(f'ledger-{version}.sql'))
        connection.execute(
            'INSERT INTO attachment VALUES (?, ?, ?, ?)',
            ('c0ffee', 'net1', '0000:02:10.0', pinned('attachment-1.json')),
        )
        connection.commit()
    migrated = ledger.Ledger(tmp_path)
    assert migrated.all() == (ATTACHMENT,)
    token = migrated.open_intent('c0ffee', ['net1'])
    migrated.save([ATTACHMENT], intent=token)
    migrated.close()
    assert schema(path) == pinned(f'ledger-{ledger_file.SCHEMA}.sql')


def test_a_local_database_of_schema_1(local_conf):
    vif = json.loads(pinned('attachment-1.json'))['vif']
    with sqlite3.connect(local_conf.database) as connection:
        connection.executescript(pinned('local-1.sql'))
        connection.execute(
            'INSERT INTO vif VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
            (
                *(VIF.id, POD.uid, str(POD), 'net1', 'net', VIF.mac),
                *('node1', '0000:02:10.0', 1700000000.0),
                *(pinned('request-1.json').strip(), json.dumps(vif)),
            ),
        )
    connection.close()
    driver = local.LocalVIFDriver(local_conf)
    (owned,) = driver.list_vifs()
    assert (owned.pod.uid, owned.vif, owned.placed) == (POD.uid, VIF, True)
    assert driver.request_vifs(POD, [REQUEST]) == (VIF,)


def test_vifs_of_a_port(monkeypatch):
    port = json.loads(pinned('port-1.json'))['body']
    session = KubernetesSession()
    monkeypatch.setattr(session, 'call', lambda *args, **kwargs: port)
    assert Kubernetes(session).vifs_of(POD) == (VIF,)


# What a later release writes and reads.


def with_news(value):
    """The value as a release writes it that knows more."""
    if isinstance(value, dict):
        more = {'news': {'of': ['later']}}
        return {key: with_news(item) for key, item in value.items()} | more
    return list(map(with_news, value)) if isinstance(value, list) else value


def test_a_record_of_before_namespaces_were_identified():
    read = codec.from_json(model.Attachment, pinned('attachment-1.json'))
    assert read == ATTACHMENT


def test_a_later_releases_record_is_read_for_what_is_known():
    later = with_news(json.loads(pinned('attachment-1.json')))
    assert codec.from_json(model.Attachment, json.dumps(later)) == ATTACHMENT


def test_a_later_release_reads_todays_record():
    later = dataclasses.make_dataclass(
        'Attachment',
        [('steps', tuple[str, ...], ('none',))],
        bases=(model.Attachment,),
        frozen=True,
    )
    read = codec.from_json(later, pinned('attachment-1.json'))
    assert read == later(
        **{
            field.name: getattr(ATTACHMENT, field.name)
            for field in dataclasses.fields(ATTACHMENT)
        }
    )
    assert read.steps == ('none',)
