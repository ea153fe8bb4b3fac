# SPDX-License-Identifier: Apache-2.0
"""How ``kuryr-sriov`` begins and ends."""

import contextlib
import importlib
import importlib.metadata
import logging
import os
import subprocess
import sys

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.cmd import arguments
from kuryr_sriov.cmd.inventory import survey
from kuryr_sriov.cmd.main import (
    COMMANDS,
    DAEMON_COMMANDS,
    _build_parser,
    main,
)


def ending(monkeypatch, error):
    """A subcommand that ends like that."""

    def run(args):
        raise error

    monkeypatch.setattr(survey, 'run', run)


@pytest.mark.parametrize('command', COMMANDS)
def test_each_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as raised:
        main([command, '--help'])
    assert raised.value.code == 0
    shown = capsys.readouterr().out
    assert f'usage: kuryr-sriov {command}' in shown
    assert '--json' in shown


@pytest.mark.parametrize('command', [*COMMANDS, *DAEMON_COMMANDS])
def test_each_option_says_what_it_is_for(command):
    parser = _build_parser()
    with contextlib.suppress(SystemExit):
        parser.parse_args([command, '--no-such-option'])
    (commands,) = parser._subparsers._group_actions
    actions = commands.choices[command]._actions
    assert {'--json', '--debug', '--help'} <= {
        name for action in actions for name in action.option_strings
    }
    for action in actions:
        assert action.help or not action.option_strings, action
        takes_value = action.option_strings and action.nargs != 0
        if takes_value and not action.choices:
            assert action.metavar.isupper(), action


def test_the_commands_are_listed(capsys):
    with pytest.raises(SystemExit) as raised:
        main(['--help'])
    assert raised.value.code == 0
    shown = ' '.join(capsys.readouterr().out.split())
    for name, (_module, text) in COMMANDS.items():
        assert f'{name} {text}' in shown


def test_it_tells_its_version(capsys):
    with pytest.raises(SystemExit) as raised:
        main(['--version'])
    assert raised.value.code == 0
    name, version = capsys.readouterr().out.split()
    assert name == 'kuryr-sriov'
    assert version == importlib.metadata.version('kuryr-sriov')


@pytest.mark.parametrize(
    'arguments', [[], ['frobnicate'], ['inventory', '--frobnicate']]
)
def test_a_wrong_command_line_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert 'usage: kuryr-sriov' in capsys.readouterr().err


def test_each_mistake_in_kuryr_conf_is_a_line(monkeypatch, capsys):
    problems = ['[sriov] a: is wrong.', '[sriov] b: is wrong, too.']
    ending(monkeypatch, exceptions.ConfigurationError(problems))
    assert main(['inventory']) == 1
    shown = capsys.readouterr()
    assert shown.out == ''
    assert shown.err.splitlines() == [f'kuryr-sriov: {p}' for p in problems]


def test_the_notes_of_an_error_are_shown(monkeypatch, capsys):
    error = exceptions.DeviceBusy('busy')
    error.add_note('and undoing it failed: busy')
    ending(monkeypatch, error)
    assert main(['inventory']) == 1
    assert capsys.readouterr().err == (
        'kuryr-sriov: busy\nkuryr-sriov: and undoing it failed: busy\n'
    )


def test_a_bug_is_not_hidden(monkeypatch):
    ending(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(['inventory'])


def test_control_c_ends_quietly(monkeypatch, capsys):
    ending(monkeypatch, KeyboardInterrupt())
    assert main(['inventory']) == 130
    assert capsys.readouterr().err == ''


def test_debug_logs(monkeypatch, tmp_path):
    monkeypatch.setattr(logging.root, 'handlers', [])
    monkeypatch.setattr(logging.root, 'level', logging.WARNING)
    arguments = ['inventory', '--root', str(tmp_path)]
    main(arguments)
    assert not logging.root.handlers
    main([*arguments, '--debug'])
    assert logging.root.handlers
    assert logging.root.level == logging.DEBUG


def test_a_reader_that_has_gone_is_no_error(monkeypatch, capsys):
    """As in ``kuryr-sriov inventory | true``."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, 'w') as stdout:
        monkeypatch.setattr(sys, 'stdout', stdout)
        assert main(['inventory', '--root', '/nowhere']) == 1
    assert capsys.readouterr().err == ''


def test_a_command_loads_what_it_needs_only():
    program = """
import sys
from kuryr_sriov.cmd.main import main
main(['inventory', '--root', '/nowhere'])
print(*sys.modules)
"""
    modules = subprocess.run(
        [sys.executable, '-c', program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()
    assert 'kuryr_sriov.cmd.inventory.survey' in modules
    unwanted = 'grpc', 'openstack', 'kuryr_sriov.testing', 'kuryr_sriov.node'
    assert not set(unwanted) & set(modules)


def test_what_is_not_installed_is_named_with_its_extra():
    with (
        pytest.raises(exceptions.PluginError) as raised,
        arguments.needs_extra('node'),
    ):
        importlib.import_module('not_installed')
    assert str(raised.value) == (
        "No module named 'not_installed'; pip install 'kuryr-sriov[node]'"
    )
