# SPDX-License-Identifier: Apache-2.0
"""The demo wires the how-to's pod and gives everything back."""

import json

import pytest

from kuryr_sriov.cmd import main
from kuryr_sriov.cmd.demo import narrative


def demo(capsys, *arguments):
    """Exit status, and what it printed."""
    status = main.main(['demo', *arguments])
    return status, capsys.readouterr().out


def test_it_says_what_was_bound_and_given_back(capsys):
    status, out = demo(capsys)
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == 'It works: the pod got its 2 VFs, and gave them back.'
    assert len(lines) < 25
    assert max(map(len, lines)) < 80
    for words in (
        'VF 0000:02:10.0 of PF 0000:02:00.0 on physnet22, for '
        'default/sriov-net1',
        'VLAN 3502',
        'kernel driver igbvf, in /run/netns/',
        'each VF is as it was before: yes',
        'the ledger is empty: yes',
        'all addresses are free: yes',
    ):
        assert words in out


def test_what_was_not_given_back_is_the_first_thing_said():
    given = {'node': False, 'ledger': True, 'addresses': False}
    report = {'pod': 'a/b', 'promised': [], 'bound': [], 'given_back': given}
    lines = list(narrative.report_lines(report))
    assert lines[0] == 'FAILED: not given back: node, addresses.'
    assert '  each VF is as it was before: NO' in lines


def test_machines_read_it_as_json(capsys):
    status, out = demo(capsys, '--json')
    report = json.loads(out)
    assert status == 0
    assert [item['kernel_driver'] for item in report['bound']] == [
        'vfio-pci',
        'igbvf',
    ]
    assert report['network_status'][1]['ips'] == ['192.168.3.2']
    assert report['given_back'] == {
        'node': True,
        'ledger': True,
        'addresses': True,
    }


@pytest.mark.parametrize(
    ('step', 'changed', 'on_record'),
    [('record', 0, 0), ('connect+7', 2, 2), ('forget', 1, 2)],
)
def test_a_process_killed_on_the_way_is_recovered_from(
    capsys, step, changed, on_record
):
    status, out = demo(capsys, '--json', '--kill-at', step)
    killed = json.loads(out)['killed']
    assert status == 0
    assert len(killed['changed']) == changed
    assert len(killed['on_record']) == on_record
    assert killed['recovered']


@pytest.mark.parametrize(
    ('step', 'on_record'),
    [('lock', 'nothing'), ('connect+7', 'net1 on 0000:02:10.0, net2 on')],
)
def test_a_kill_is_told_to_people_too(capsys, step, on_record):
    status, out = demo(capsys, '--kill-at', step)
    assert status == 0
    assert f'killed (SIGKILL) at {step.partition("+")[0]}' in out
    assert f'on record: {on_record}' in out
    assert len(out.splitlines()) < 25
    assert max(map(len, out.splitlines())) < 80


def test_a_step_that_does_not_exist_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as raised:
        demo(capsys, '--kill-at', 'lunch')
    assert raised.value.code == 2
    assert 'lunch' in capsys.readouterr().err


def test_a_kill_that_never_comes_is_an_error(capsys):
    assert main.main(['demo', '--kill-at', 'forget+999']) == 1
    assert 'was not killed' in capsys.readouterr().err


def test_files_that_are_not_there_are_named(capsys, tmp_path):
    assert main.main(['demo', '--files', str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_a_nad_that_is_not_there_is_named(capsys, tmp_path):
    from kuryr_sriov.cmd.demo import howto_files

    for file in howto_files.default_folder().iterdir():
        if file.name != 'sriov-net2.yaml':
            (tmp_path / file.name).write_text(file.read_text())
    assert main.main(['demo', '--files', str(tmp_path)]) == 1
    assert 'default/sriov-net2' in capsys.readouterr().err
