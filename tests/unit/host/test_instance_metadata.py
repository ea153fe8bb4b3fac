# SPDX-License-Identifier: Apache-2.0
"""What Nova writes is read, wherever it is, and nothing is made up."""

import contextlib
import http.server
import json
import os
import threading
from pathlib import Path

import pytest
from metadata import (
    NETWORK_A,
    NETWORK_B,
    NETWORK_C,
    PORTS,
    WRITTEN,
    write_config_drive,
)

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import config_drive, instance_metadata, wait
from kuryr_sriov.host.instance_metadata import InstanceMetadata

EXPECTED = (
    model.GuestPort(
        PORTS[0],
        'fa:16:3e:00:00:01',
        NETWORK_A,
        addresses=('192.168.2.7/24', 'fd00:2::7/64'),
        routes=(model.Route('10.9.0.0/16', '192.168.2.254'),),
        dns=('192.168.2.53',),
        mtu=1450,
    ),
    model.GuestPort(
        PORTS[1],
        'fa:16:3e:00:00:02',
        NETWORK_B,
        addresses=('192.168.3.7/24',),
        mtu=1400,
    ),
    model.GuestPort(
        PORTS[2],
        'fa:16:3e:00:00:03',
        NETWORK_A,
        addresses=('192.168.2.8/24',),
        routes=(model.Route('10.9.0.0/16', '192.168.2.254'),),
        dns=('192.168.2.53',),
        mtu=1450,
    ),
    model.GuestPort(
        PORTS[3],
        'fa:16:3e:00:00:04',
        NETWORK_C,
        mtu=1500,
        unknown=('ipv4_dhcp',),
    ),
)


def parse(data):
    text = data if isinstance(data, str) else json.dumps(data)
    return instance_metadata.parse_network_data(text.encode(), 'here')


def test_all_ports_that_nova_wrote_are_read():
    assert parse(WRITTEN) == EXPECTED


def test_a_mounted_config_drive_is_read_anew_each_time(tmp_path):
    write_config_drive(tmp_path, [])
    metadata = InstanceMetadata(str(tmp_path), 5)
    assert metadata.list_ports() == EXPECTED
    write_config_drive(tmp_path, ['FA:16:3E:00:00:99'])
    assert metadata.list_ports()[0].mac == 'fa:16:3e:00:00:99'


@pytest.mark.parametrize(
    'text',
    [
        '',
        'null',
        '[]',
        '{"links": [{"id": 7}]}',
        '{"networks": [{"link": "a"}]}',
    ],
)
def test_what_is_no_metadata_says_where_it_was(text):
    with pytest.raises(
        exceptions.TransientError, match=r'network_data.json of here'
    ):
        parse(text)


def changed(change):
    data = json.loads(WRITTEN)
    change(data)
    return data


def test_links_that_cannot_be_told_apart_are_refused():
    def same_name(data):
        data['links'][1]['id'] = data['links'][0]['id']

    with pytest.raises(exceptions.TransientError, match='two links'):
        parse(changed(same_name))


def test_a_link_on_two_networks_is_refused():
    def two_networks(data):
        data['networks'][1]['network_id'] = NETWORK_B

    with pytest.raises(exceptions.TransientError, match='several networks'):
        parse(changed(two_networks))


@pytest.mark.parametrize(
    ('key', 'value'), [('netmask', 'x'), ('netmask', '255')]
)
def test_an_address_that_is_none_is_refused(key, value):
    def spoil(data):
        data['networks'][0][key] = value

    with pytest.raises(exceptions.TransientError, match='understood'):
        parse(changed(spoil))


def test_links_without_port_or_network_are_left_alone():
    """A bond of Ironic's, and what is not there yet."""

    def add(data):
        data['links'] += [
            {'id': 'bond0', 'type': 'bond', 'mtu': None, 'bond_links': []},
            {'id': 'new', 'vif_id': 'p', 'ethernet_mac_address': 'x'},
        ]

    assert parse(changed(add)) == EXPECTED


# The metadata service.


@pytest.fixture
def service():
    """Answers with ``answer``, and notes what it is asked."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, body = answers[0]
            self.send_response(status)
            self.end_headers()
            if status == 0:
                over.wait(30)
            self.wfile.write(body)

        def log_message(self, *_arguments):
            """Quietly."""

    asked, answers, over = [], [(200, WRITTEN.encode())], threading.Event()
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f'http://127.0.0.1:{server.server_port}'
    server.asked, server.answers = asked, answers
    yield server
    over.set()
    server.shutdown()
    server.server_close()


def test_the_metadata_service_is_asked_without_proxies(service, monkeypatch):
    monkeypatch.setenv('http_proxy', 'http://127.0.0.1:1')
    for url in (service.url, f'{service.url}/'):
        assert InstanceMetadata(url, 5).list_ports() == EXPECTED
    assert set(service.asked) == {'/openstack/latest/network_data.json'}


def test_a_service_that_refuses_is_named_with_its_answer(service):
    service.answers[:] = [(404, b'')]
    with pytest.raises(exceptions.TransientError, match=r'404.*config drive'):
        InstanceMetadata(service.url, 5).list_ports()


def test_a_service_that_is_not_there_is_named(service):
    service.shutdown()
    service.server_close()
    with pytest.raises(exceptions.TransientError, match=service.url):
        InstanceMetadata(service.url, 5).list_ports()


def test_a_service_that_hangs_has_a_deadline(service):
    service.answers[:] = [(0, b'')]
    with pytest.raises(exceptions.TransientError, match='instance_metadata'):
        InstanceMetadata(service.url, 0.2).list_ports()


# Where it is.


def test_the_config_drive_is_looked_for_before_the_service(tmp_path):
    label = tmp_path / 'config-2'
    metadata = InstanceMetadata('', 5, str(label))
    assert metadata.source == instance_metadata.SERVICE
    label.touch()
    assert metadata.source == str(label)
    assert InstanceMetadata('/mnt', 5, str(label)).source == '/mnt'


def test_a_drive_that_cannot_be_mounted_is_named_and_hides_nothing(tmp_path):
    """In whichever way: no rights, or no such device."""
    device = tmp_path / 'sr0'
    device.touch()
    with pytest.raises(exceptions.TransientError, match=r'sr0.*mount'):
        InstanceMetadata(str(device), 5).list_ports()
    assert list(config_drive.PLACE.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason='only root may mount')
def test_no_thread_stays_where_the_drive_is_mounted(tmp_path, monkeypatch):
    """It would not see the network namespaces of later pods."""
    monkeypatch.setattr(config_drive, 'FILESYSTEMS', ('tmpfs',))
    before = os.readlink('/proc/thread-self/ns/mnt')
    with pytest.raises(exceptions.TransientError, match=r'No such file'):
        config_drive.read_device(tmp_path / 'sr0', instance_metadata.FILE)
    assert os.readlink('/proc/thread-self/ns/mnt') == before

    def only_one_namespace():
        found = set()
        for task in Path('/proc/self/task').iterdir():
            with contextlib.suppress(FileNotFoundError):  # it has ended
                found.add(os.readlink(task / 'ns/mnt'))
        return found == {before}

    # a thread is joined before the kernel has seen its end
    wait.wait_for(only_one_namespace, 5, 'the end of the thread')
    assert not (tmp_path / 'openstack').exists()
    assert list(config_drive.PLACE.iterdir())
