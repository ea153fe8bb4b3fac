# SPDX-License-Identifier: Apache-2.0
"""The CNI plugin, against a server on a real unix socket."""

import contextlib
import dataclasses
import http.server
import json
import os
import socket
import socketserver
import struct
import subprocess
import threading
import time

import pytest
from cnirun import (
    COMMANDS,
    CONFIG,
    SOURCES,
    VARIABLES,
    pipe_without_reader,
)

VERSIONS = '0.3.1', '0.4.0', '1.0.0', '1.1.0'
MEGABYTE = 1 << 20
RESULT = b'{"cniVersion": "1.0.0", "interfaces": []}\n'
ERROR = b'{"cniVersion": "1.0.0", "code": 100, "msg": "no VF"}'


class Daemon(socketserver.ThreadingUnixStreamServer):
    """Answers as it is told, and remembers what it was asked."""

    daemon_threads = False

    def __init__(self, path, status, body):
        super().__init__(str(path), Handler)
        self.status = status
        self.body = body
        self.requests = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header('Content-Length', str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def address_string(self):
        return 'plugin'

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def answering(plugin, body=b'', status=200):
    """A daemon that answers so."""
    with Daemon(plugin.socket, status, body) as daemon:
        thread = threading.Thread(target=daemon.serve_forever, args=[0.01])
        thread.start()
        try:
            yield daemon
        finally:
            daemon.shutdown()
            thread.join()


@contextlib.contextmanager
def saying(plugin, *parts, until=None, read=True):
    """A server that says these bytes to one client, whatever it asks."""

    def serve():
        client, _ = server.accept()
        with client:
            if read:
                client.recv(MEGABYTE)
            for part in parts:
                client.sendall(part)
            if until is not None:
                until.wait()

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(plugin.socket))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            if until is not None:
                until.set()
            thread.join()


def ended_in_time(plugin, run):
    """How ``run`` ended, which took a second and not many."""
    began = time.monotonic()
    ended = run(dataclasses.replace(plugin, deadline=1))
    assert 0.9 < time.monotonic() - began < 20
    assert ended.code == 11
    assert 'no answer in time' in ended.error['msg']


def test_the_daemon_is_told_all_that_the_runtime_says(plugin):
    config = json.dumps({**CONFIG, 'prevResult': {'a': 'ü'}}).encode()
    with answering(plugin) as daemon:
        plugin.run('ADD', config)
    [(path, headers, body)] = daemon.requests
    assert path == '/cni'
    assert body == config
    assert (
        headers.items()
        >= {
            'X-CNI-Command': 'ADD',
            'X-CNI-ContainerID': VARIABLES['CNI_CONTAINERID'],
            'X-CNI-Netns': VARIABLES['CNI_NETNS'],
            'X-CNI-IfName': VARIABLES['CNI_IFNAME'],
            'X-CNI-Args': VARIABLES['CNI_ARGS'],
            'X-CNI-Path': VARIABLES['CNI_PATH'],
            'Connection': 'close',
        }.items()
    )


def test_a_variable_that_is_not_set_is_not_said(plugin):
    with answering(plugin) as daemon:
        plugin.run('DEL', CNI_NETNS=None, CNI_ARGS='')
    [(_, headers, _)] = daemon.requests
    assert 'X-CNI-Netns' not in headers
    assert headers['X-CNI-Args'] == ''


@pytest.mark.parametrize('command', COMMANDS)
def test_a_good_answer_is_what_the_runtime_reads(plugin, command):
    with answering(plugin, RESULT):
        ended = plugin.run(command)
    assert (ended.status, ended.output) == (0, RESULT)


def test_a_good_answer_may_be_empty(plugin):
    with answering(plugin, b''):
        ended = plugin.run('DEL')
    assert (ended.status, ended.output) == (0, b'')


@pytest.mark.parametrize('status', [400, 413, 500, 503, 204])
def test_an_error_of_the_daemon_is_what_the_runtime_reads(plugin, status):
    with answering(plugin, ERROR, status):
        ended = plugin.run('ADD')
    assert (ended.status, ended.output) == (1, ERROR)


def test_a_large_configuration_and_answer_pass(plugin):
    config = b' ' * (MEGABYTE - 2)
    answer = b'{' + b' ' * (MEGABYTE - 1000)
    with answering(plugin, answer) as daemon:
        ended = plugin.run('GC', config)
    assert (ended.status, ended.output) == (0, answer)
    assert daemon.requests[0][2] == config


@pytest.mark.parametrize('version', VERSIONS)
def test_it_tells_its_versions_without_the_daemon(plugin, version):
    ended = plugin.run('VERSION', {'cniVersion': version})
    assert ended.status == 0
    assert json.loads(ended.output) == {
        'cniVersion': version,
        'supportedVersions': list(VERSIONS),
    }


@pytest.mark.parametrize(
    ('config', 'version'),
    [
        (
            b'{"prevResult":{"cniVersion":"0.4.0"},"cniVersion":"1.0.0"}',
            '1.0.0',
        ),
        (b'{"list":["{",{}],"x":"\\"}{","cniVersion" :\n "0.4.0"}', '0.4.0'),
        (b'{"prevResult":{"cniVersion":"0.4.0"}}', '1.1.0'),
        (b'{"cniVersion":"1.0.0-\\"; drop"}', '1.1.0'),
        (b'{"cniVersion":"' + b'1' * 16 + b'"}', '1.1.0'),
        (b'{"cniVersion":"1.0', '1.1.0'),
        (b'{"cniVersion":', '1.1.0'),
        (b'{"cniVersion":7}', '1.1.0'),
        (b'{"cniVersion', '1.1.0'),
        (b'{"x":"\\', '1.1.0'),
        (b'\x00\xff', '1.1.0'),
        (b'', '1.1.0'),
    ],
)
def test_its_own_errors_have_the_version_that_was_asked_for(
    plugin, config, version
):
    assert plugin.run('ADD', config).error['cniVersion'] == version


@pytest.mark.parametrize(
    ('command', 'code'),
    [('ADD', 11), ('CHECK', 11), ('DEL', 11), ('GC', 11), ('STATUS', 50)],
)
def test_without_the_daemon_it_says_to_try_again(plugin, command, code):
    ended = plugin.run(command)
    assert ended.code == code
    assert 'the node daemon does not run here' in ended.error['msg']


def test_a_socket_that_a_killed_daemon_left_is_no_daemon(plugin):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(plugin.socket))
    assert plugin.run('ADD').code == 11


@pytest.mark.parametrize('name', ['CNI_COMMAND', *VARIABLES])
@pytest.mark.parametrize('character', ['\n', '\r', '\x01', '\x7f'])
def test_a_control_character_goes_nowhere(plugin, name, character):
    with answering(plugin) as daemon:
        value = f'x{character}X-CNI-Netns: /proc/1/ns/net'
        ended = plugin.run(**{'command': 'ADD', name: value})
    assert ended.code == 4
    assert f'{name}: has a control character' in ended.error['msg']
    assert not daemon.requests


def test_variables_have_an_end(plugin):
    with answering(plugin) as daemon:
        ended = plugin.run('ADD', CNI_ARGS='x' * 40000)
    assert ended.code == 4
    assert 'CNI_ARGS: is too long' in ended.error['msg']
    assert not daemon.requests


@pytest.mark.parametrize('command', [None, ''])
def test_it_says_who_should_start_it(plugin, command):
    ended = plugin.run(command)
    assert ended.code == 4
    assert 'CNI_COMMAND' in ended.error['msg']


def test_a_path_that_no_socket_can_have_is_refused(plugin):
    path = '/' + 'x' * 107
    assert plugin.run('ADD', KURYR_SRIOV_CNI_SOCKET=path).code == 4


def test_a_configuration_has_an_end(plugin):
    with answering(plugin) as daemon:
        ended = plugin.run('ADD', b' ' * MEGABYTE)
    assert ended.code == 6
    assert 'on standard input' in ended.error['msg']
    assert not daemon.requests


def test_an_answer_has_an_end(plugin):
    with answering(plugin, b' ' * MEGABYTE):
        ended = plugin.run('ADD')
    assert ended.code == 6
    assert "the daemon's answer" in ended.error['msg']


CUT_SHORT = [
    [],
    [b'HTTP/1.1 200 OK\r\nContent-Le'],
    [b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n', RESULT[:10]],
    [b'HTTP/1.1 500 No\r\nContent-Length: 20\r\n\r\n', ERROR[:10]],
]


@pytest.mark.parametrize('parts', CUT_SHORT)
@pytest.mark.parametrize(
    ('command', 'code'), [('ADD', 11), ('DEL', 11), ('STATUS', 50)]
)
def test_a_daemon_killed_while_it_answers_is_worth_a_retry(
    plugin, parts, command, code
):
    with saying(plugin, *parts):
        ended = plugin.run(command)
    assert ended.code == code
    assert 'the node daemon ended' in ended.error['msg']


def test_a_daemon_killed_before_it_has_read_all_is_worth_a_retry(plugin):
    """The kernel then resets the connection."""
    with saying(plugin, read=False):
        ended = plugin.run('ADD', b' ' * (MEGABYTE // 2))
    assert ended.code == 11


def test_a_daemon_that_refuses_need_not_read_on(plugin):
    head = f'HTTP/1.1 413 No\r\nContent-Length: {len(ERROR)}\r\n\r\n'
    with saying(plugin, head.encode(), ERROR, read=False):
        ended = plugin.run('ADD', b' ' * (MEGABYTE // 2))
    assert (ended.status, ended.output) == (1, ERROR)


@pytest.mark.parametrize(
    'answer',
    [
        b'220 mail.example.org ESMTP\r\n\r\n',
        b'HTTP/1.1 200 OK\r\n\r\n{}',
        b'HTTP/1.1 404 No\r\nContent-Length: 6\r\n\r\n<html>',
        b'HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n',
        b'HTTP/1.1\r\n\r\n',
        b'\x00\r\n\r\n',
    ],
)
def test_what_is_no_daemon_is_called_so(plugin, answer):
    with saying(plugin, answer):
        ended = plugin.run('ADD')
    assert ended.code == 5
    assert 'see what listens on the socket' in ended.error['msg']


def test_it_does_not_wait_for_ever_for_an_answer(plugin):
    with saying(plugin, until=threading.Event()):
        ended_in_time(plugin, lambda plugin: plugin.run('ADD'))


def test_it_does_not_wait_for_ever_for_the_rest_of_an_answer(plugin):
    head = b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{'
    with saying(plugin, head, until=threading.Event()):
        ended_in_time(plugin, lambda plugin: plugin.run('ADD'))


def test_it_does_not_wait_for_ever_for_a_daemon_that_does_not_read(plugin):
    with saying(plugin, until=threading.Event(), read=False):
        ended_in_time(
            plugin, lambda plugin: plugin.run('ADD', b' ' * (MEGABYTE - 2))
        )


def test_it_does_not_wait_for_ever_for_a_daemon_that_does_not_accept(plugin):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(plugin.socket))
        server.listen(0)
        first = stack.enter_context(socket.socket(socket.AF_UNIX))
        first.connect(str(plugin.socket))  # the queue is full now
        ended_in_time(plugin, lambda plugin: plugin.run('ADD'))


def test_it_does_not_wait_for_ever_for_its_configuration(plugin):
    process, _ = dataclasses.replace(plugin, deadline=1).start('ADD')
    with process:
        assert process.wait(timeout=20) == 1
        assert json.loads(process.stdout.read())['code'] == 11


def test_a_runtime_that_does_not_listen_gets_a_status(plugin):
    with answering(plugin, RESULT):
        writer = pipe_without_reader()
        process, config = plugin.start('ADD', stdout=writer)
        os.close(writer)
        process.communicate(config, timeout=60)
    assert process.returncode == 1


def test_a_blocked_alarm_is_let_through(plugin):
    """A runtime hands its signal mask on to what it starts."""
    script = 'import os, signal, sys; ' + (
        'signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); '
        'os.execv(sys.argv[1], sys.argv[1:])'
    )
    with saying(plugin, until=threading.Event()):
        ended = subprocess.run(
            ['python3', '-c', script, plugin.program],
            env={
                **os.environ,
                'CNI_COMMAND': 'ADD',
                'KURYR_SRIOV_CNI_SOCKET': str(plugin.socket),
                'KURYR_SRIOV_CNI_DEADLINE': '1',
            },
            input=b'{}',
            stdout=subprocess.PIPE,
            timeout=20,
        )
    assert ended.returncode == 1
    assert json.loads(ended.stdout)['code'] == 11


def test_it_needs_no_library_of_the_host_and_has_no_executable_stack(program):
    elf = program.read_bytes()
    (offset,) = struct.unpack_from('<Q', elf, 32)
    size, count = struct.unpack_from('<HH', elf, 54)
    headers = [
        struct.unpack_from('<II', elf, offset + number * size)
        for number in range(count)
    ]
    kinds = dict(headers)
    interpreter, stack, executable = 3, 0x6474E551, 1
    assert interpreter not in kinds
    assert not kinds[stack] & executable


def test_it_stays_small_enough_to_be_read():
    lines = (SOURCES / 'plugin.c').read_text().splitlines()
    assert len(lines) < 200
