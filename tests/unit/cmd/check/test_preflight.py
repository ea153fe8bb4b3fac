# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov check`` says what is wrong with a node, and what to do."""

import json
import os
import re
import shutil

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.cmd.check import configuration, preflight
from kuryr_sriov.cmd.check import findings as checks
from kuryr_sriov.cmd.demo import howto_files
from kuryr_sriov.cmd.main import main
from kuryr_sriov.config import loading
from kuryr_sriov.drivers.local import LocalVIFDriver
from kuryr_sriov.node import Node
from kuryr_sriov.testing.simulation.kubelet import Kubelet
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode, Vf

PF, OTHER_PF = '0000:02:00.0', '0000:02:00.1'
P22, P23 = 'intel.com/physnet22', 'intel.com/physnet23'
NETNS = '/run/netns/pod'

SRIOV = {
    'vif_driver': 'local',
    'enable_pod_resource_service': 'True',
    'resource_driver_mappings': 'physnet22:vfio-pci,physnet23:netdevice',
    'kubelet_timeout': '2',
}


class Machine:
    """A node, its kubelet and its kuryr.conf; all is well with it."""

    def __init__(self, folder):
        self.folder = folder
        self.node = SimulatedNode(
            folder / 'node',
            [Pf(PF, 'ens6', vfs=2), Pf(OTHER_PF, 'ens8', vfs=2, total_vfs=7)],
        )
        self.kubelet = Kubelet(folder)
        self.kubelet.plug(P22, self.node.vfs(PF))
        self.kubelet.plug(P23, self.node.vfs(OTHER_PF))
        self.subnets = folder / 'subnets.yaml'
        example = howto_files.default_folder() / 'subnets.yaml'
        shutil.copy(example, self.subnets)
        self.sriov = {
            **SRIOV,
            'kubelet_root_dir': folder,
            'state_dir': folder / 'state',
        }

    def conf(self):
        file = self.folder / 'kuryr.conf'
        options = [f'{name} = {value}' for name, value in self.sriov.items()]
        local = ['[sriov_local]', f'subnets_file = {self.subnets}', '']
        file.write_text('\n'.join(['[sriov]', *options, *local]))
        return loading.load_config(files=[str(file)])

    def findings(self, **subject):
        subject = {'conf': self.conf(), **subject}
        return list(
            checks.check_in_order(
                preflight.CHECKS, checks.Subject(self.node.host, **subject)
            )
        )

    def results(self, name):
        return [f.result for f in self.findings() if f.check == name]

    def result(self, name):
        (result,) = self.results(name)
        return result

    def attach(self):
        pod = model.Pod('default', 'nginx', 'uid-1')
        sandbox = model.Sandbox('c1', self.node.add_netns(NETNS), pod)
        vif = model.Vif(
            'id', 'net1', 'default/n', P22, 'p22', 'fa:16:3e:00:00:01'
        )
        device = model.Device(P22, self.node.vfs(PF)[0])
        with Node(self.conf(), host=self.node.host) as daemon:
            daemon.attach(sandbox, [vif], [device])


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path)
    with machine.kubelet:
        yield machine


def statuses(findings):
    return {(f.check, f.result.status) for f in findings}


def test_a_good_node_is_ready(machine):
    machine.attach()
    findings = machine.findings()
    # The node daemon was never installed here, so that nothing is said of it.
    names = {c.name for c in preflight.CHECKS} - {'CNI'}
    assert statuses(findings) == {(name, 'ok') for name in names}
    assert preflight.is_ready(findings)
    lines = list(preflight.report_lines(findings))
    assert lines[0] == f'ok      kuryr.conf  {machine.folder}/kuryr.conf'
    assert lines[1:16] == [
        'ok      options     valid, and fit each other',
        'ok      drivers     binding driver netdevice',
        'ok      drivers     binding driver vfio-pci',
        'ok      drivers     subnet driver nad',
        'ok      drivers     vif driver local',
        'ok      drivers     allocation podresources',
        'ok      provider    vif driver local finds nothing wrong',
        f'ok      VFs         PF {PF} (ens6), VFs: 2 of 2',
        f'ok      VFs         PF {OTHER_PF} (ens8), VFs: 2 of 7',
        'ok      guest VFs   no node has the VIF driver guest',
        'ok      userspace   vfio-pci is loaded',
        'ok      userspace   the IOMMU is on',
        'ok      kubelet     answers; resources offered: 2',
        f'ok      resources   {P22} (driver vfio-pci), devices: 2',
        f'ok      resources   {P23} (driver netdevice), devices: 2',
    ]
    assert lines[-5:] == [
        'ok      ledger      attachments on record: 1',
        'ok      leftovers   none',
        'ok      nodes       vif driver local misses no node',
        '',
        'This node is ready (ok: 20).',
    ]


def test_a_pf_that_is_down_or_without_link(machine):
    machine.node.unplug(PF)
    index = machine.node.host.pci.device(OTHER_PF).ifindex
    machine.node.host.links.set(index, up=False)
    unplugged, down = machine.results('VFs')
    assert unplugged.status == down.status == 'warning'
    assert 'ens6), VFs: 2 of 2. It has no link' in unplugged.message
    assert 'cable' in unplugged.remedy
    assert 'ens8), VFs: 2 of 7. It is down' in down.message
    assert down.commands == ('ip link set ens8 up',)


def test_nothing_is_changed(machine):
    def everything():
        tree = sorted(
            os.path.join(folder, name)
            for folder, folders, files in os.walk(machine.folder)
            for name in (*folders, *files)
        )
        return tree, machine.node.state(), dict(machine.node.operations)

    machine.attach()
    before = everything()
    machine.findings()
    assert everything() == before


# provider


def provider_says(monkeypatch, machine, answer):
    def preflight(cls, conf):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(LocalVIFDriver, 'preflight', classmethod(preflight))
    return [(r.status, r.message) for r in machine.results('provider')]


def test_what_a_vif_driver_finds_wrong_has_failed(monkeypatch, machine):
    problems = ('no role "service"', 'no cluster')
    assert provider_says(monkeypatch, machine, problems) == [
        ('failed', problem) for problem in problems
    ]


def test_a_provider_that_cannot_be_asked_here_is_a_warning(
    monkeypatch, machine
):
    error = exceptions.ProviderUnavailable('no answer from Keystone')
    assert provider_says(monkeypatch, machine, error) == [
        ('warning', 'vif driver local: no answer from Keystone')
    ]


def test_a_vif_driver_that_does_not_load_cannot_be_asked(machine):
    machine.sriov['vif_driver'] = 'nutron'
    subject = checks.Subject(machine.node.host, machine.conf())
    results = list(configuration.check_provider(subject))
    assert [r.status for r in results] == ['skipped']


def test_a_local_driver_without_its_subnets_fails(machine):
    machine.subnets.unlink()
    result = machine.result('provider')
    assert result.status == 'failed'
    assert str(machine.subnets) in result.message


# kuryr.conf


@pytest.mark.parametrize(
    ('text', 'warnings'),
    [
        (
            '[sriov]\nresource_driver_mapping = physnet22:netdevice\n',
            [
                'nothing reads [sriov] resource_driver_mapping; did you mean '
                'resource_driver_mappings?'
            ],
        ),
        (
            '[sriov]\nfrobnicate = yes\n',
            ['nothing reads [sriov] frobnicate; remove it.'],
        ),
        ('[Sriov]\nvif_driver = local\n', ['write [sriov] in place of']),
        (
            '[sriov_locl]\nsubnets_file = /etc/subnets.yaml\n',
            ['nothing reads section [sriov_locl]; did you mean'],
        ),
        (
            '[neutron]\nauth_urll = http://keystone\nproxy = none\n',
            ['[neutron] auth_urll; did you mean auth_url?'],
        ),
        (
            '[kubernetes]\napi_root = https://api\n[cni_daemon]\nx = 1\n'
            '[neutron_defaults]\npod_security_groups = a\n',
            [],
        ),
    ],
    ids=['option', 'nonsense', 'case', 'section', 'shared', 'others'],
)
def test_what_nothing_reads_is_told_with_what_was_meant(
    machine, tmp_path, text, warnings
):
    file = tmp_path / 'mistyped.conf'
    file.write_text(text)
    conf = loading.load_config(files=[str(file)])
    told = [
        f.result.message
        for f in machine.findings(conf=conf)
        if (f.check, f.result.status) == ('options', 'warning')
    ]
    assert len(told) == len(warnings)
    for message, words in zip(told, warnings, strict=True):
        assert str(file) in message
        assert words in message


def test_a_file_that_cannot_be_read_skips_what_needs_it(machine):
    error = exceptions.ConfigurationError(['cannot be parsed'])
    findings = machine.findings(conf=None, error=error)
    assert statuses(findings) == {
        ('kuryr.conf', 'failed'),
        ('options', 'skipped'),
        ('drivers', 'skipped'),
        ('provider', 'skipped'),
        ('VFs', 'ok'),
        ('guest VFs', 'skipped'),
        ('userspace', 'skipped'),
        ('kubelet', 'skipped'),
        ('resources', 'skipped'),
        ('state_dir', 'skipped'),
        ('ledger', 'skipped'),
        ('leftovers', 'skipped'),
        ('CNI', 'skipped'),
        ('nodes', 'skipped'),
    }
    assert not preflight.is_ready(findings)


def test_each_wrong_option_is_a_line_of_its_own(machine):
    machine.sriov['vif_driver'] = 'nutron'
    machine.sriov['kubelet_timeout'] = '-1'
    one, two = machine.results('options')
    assert (one.status, two.status) == ('failed', 'failed')
    assert 'nutron' in one.message
    assert 'kubelet_timeout' in two.message
    assert machine.result('kubelet') == checks.skipped(
        'because of options', 'options'
    )
    assert {r.status for r in machine.results('VFs')} == {'ok'}


def test_no_kuryr_conf_is_a_warning_and_no_resource_a_failure(machine):
    findings = machine.findings(conf=loading.load_config(files=[]))
    assert ('kuryr.conf', 'warning') in statuses(findings)
    assert ('resources', 'failed') in statuses(findings)


def test_a_wrong_option_of_a_driver_fails(machine):
    with (machine.folder / 'kuryr.conf').open('w') as file:
        file.write('[sriov]\nvif_driver = local\n')
        file.write('[sriov_local]\ndatabase_timeout = soon\n')
    conf = loading.load_config(files=[str(machine.folder / 'kuryr.conf')])
    (result,) = [
        f.result
        for f in machine.findings(conf=conf)
        if f.result.status == 'failed' and f.check == 'drivers'
    ]
    assert result.message.startswith('[sriov_local] database_timeout: ')


@pytest.fixture
def broken(monkeypatch):
    """Makes a driver fail to load, as if for that reason."""

    def make(name, cause):
        real = preflight.configuration.plugins.load_plugin

        def load(kind, wanted):
            if wanted != name:
                return real(kind, wanted)
            raise exceptions.PluginError(f'driver {name} broken') from cause

        monkeypatch.setattr(
            preflight.configuration.plugins, 'load_plugin', load
        )

    return make


def test_a_controller_driver_without_its_extra_is_a_warning(machine, broken):
    broken('local', ModuleNotFoundError("No module named 'openstack'"))
    (warning,) = [
        r for r in machine.results('drivers') if r.status == 'warning'
    ]
    assert warning.message == (
        "vif driver local does not load here: No module named 'openstack'. "
        'A node does not need it.'
    )
    assert warning.commands == ("pip install 'kuryr-sriov[controller]'",)


@pytest.mark.parametrize(
    ('name', 'cause'),
    [
        ('local', SyntaxError('invalid syntax')),
        ('vfio-pci', ModuleNotFoundError("No module named 'grpc'")),
    ],
)
def test_any_other_driver_that_does_not_load_fails(
    machine, broken, name, cause
):
    broken(name, cause)
    (failure,) = [
        r for r in machine.results('drivers') if r.status == 'failed'
    ]
    assert failure.message == f'driver {name} broken'


# PFs and VFs


def test_a_pf_without_vfs_is_a_warning_if_others_have_some(machine):
    machine.node.recreate_vfs(OTHER_PF, 0)
    good, warning = machine.results('VFs')
    assert (good.status, warning.status) == ('ok', 'warning')
    assert warning.commands == (
        f'echo 7 > /sys/bus/pci/devices/{OTHER_PF}/sriov_numvfs',
    )


def test_no_vf_at_all_fails(machine):
    machine.node.recreate_vfs(PF, 0)
    machine.node.recreate_vfs(OTHER_PF, 0)
    assert {r.status for r in machine.results('VFs')} == {'failed'}


def test_a_vm_is_told_what_it_may_have(machine, tmp_path):
    machine.node = SimulatedNode(tmp_path / 'vm', [Vf('0000:09:00.0', 'eth4')])
    result = machine.result('VFs')
    assert result.status == 'warning'
    assert 'other network functions: 1' in result.message


def test_no_network_function_at_all_fails(machine, tmp_path):
    machine.node = SimulatedNode(tmp_path / 'none', [])
    assert machine.result('VFs').status == 'failed'


# vfio-pci


def test_a_missing_userspace_driver_fails(machine):
    machine.node.unload('vfio-pci')
    failure, iommu = machine.results('userspace')
    assert failure.status == 'failed'
    assert failure.commands[0] == 'modprobe vfio-pci'
    assert iommu.status == 'ok'


@pytest.mark.parametrize(
    ('iommu', 'allowed', 'status', 'words'),
    [
        ('off', 'true', 'failed', 'There is no IOMMU'),
        ('noiommu', 'true', 'ok', 'no-IOMMU mode'),
        ('noiommu', 'false', 'failed', 'this node does not allow it'),
    ],
)
def test_vfio_needs_an_iommu_or_its_absence_allowed(
    machine, tmp_path, iommu, allowed, status, words
):
    machine.sriov['allow_unsafe_noiommu'] = allowed
    machine.node = SimulatedNode(
        tmp_path / 'other', [Pf(PF, 'ens6', vfs=2)], iommu=iommu
    )
    _, result = machine.results('userspace')
    assert result.status == status
    assert words in result.message


def test_bare_metal_does_not_allow_noiommu_mode_by_itself(machine, tmp_path):
    machine.node = SimulatedNode(
        tmp_path / 'other', [Pf(PF, 'ens6', vfs=2)], iommu='noiommu'
    )
    _, result = machine.results('userspace')
    assert result.status == 'failed'
    assert 'allow_unsafe_noiommu = true' in result.remedy


@pytest.mark.parametrize('said', [True, False])
def test_a_vm_allows_noiommu_mode(machine, tmp_path, said):
    """Whether its processor says that it is one, or the operator does."""
    function = Pf(PF, 'ens6', vfs=2) if said else Vf(PF, 'ens6')
    if said:
        machine.sriov['node_is_guest'] = 'true'
    machine.node = SimulatedNode(
        tmp_path / 'other', [function], iommu='noiommu'
    )
    _, result = machine.results('userspace')
    assert result.status == 'ok'


def test_in_noiommu_mode_a_bound_vf_is_no_iommu(machine, tmp_path):
    machine.sriov['allow_unsafe_noiommu'] = 'true'
    machine.node = SimulatedNode(
        tmp_path / 'other',
        [Pf(PF, 'ens6', vfs=2, vf_driver='vfio-pci')],
        iommu='noiommu',
    )
    _, result = machine.results('userspace')
    assert 'no-IOMMU mode' in result.message


def test_uio_needs_no_iommu(machine):
    machine.sriov['resource_driver_mappings'] = 'physnet22:uio_pci_generic'
    machine.node.load('uio_pci_generic')
    assert machine.result('userspace').message == 'uio_pci_generic is loaded'


def test_kernel_drivers_need_neither(machine):
    machine.sriov['resource_driver_mappings'] = 'physnet22:netdevice'
    assert machine.result('userspace').status == 'ok'


# The kubelet


def test_a_kubelet_that_does_not_answer_fails(machine, tmp_path):
    machine.sriov['kubelet_root_dir'] = tmp_path / 'elsewhere'
    assert machine.result('kubelet').status == 'failed'
    assert machine.result('resources') == checks.skipped(
        'because of kubelet', 'kubelet'
    )


def test_an_old_kubelet_is_a_warning(machine):
    machine.kubelet.allocatable = 'no'
    assert machine.result('kubelet').status == 'warning'
    assert machine.result('resources').status == 'skipped'


def test_without_the_service_the_checkpoint_is_enough(machine):
    machine.sriov['enable_pod_resource_service'] = 'False'
    assert machine.result('kubelet') == checks.ok(
        f'{machine.kubelet.checkpoint} can be read'
    )
    assert {r.status for r in machine.results('resources')} == {'ok'}


def test_neither_service_nor_checkpoint_is_a_warning(machine, tmp_path):
    machine.sriov['enable_pod_resource_service'] = 'False'
    machine.sriov['kubelet_root_dir'] = tmp_path / 'elsewhere'
    warning = machine.result('kubelet')
    assert warning.status == 'warning'
    assert 'passes in the devices' in warning.remedy
    assert machine.result('resources').status == 'skipped'


# Resource names


def test_a_resource_that_is_not_offered_is_named(machine):
    mappings = 'physnet22:vfio-pci,physnet9:netdevice'
    machine.sriov['resource_driver_mappings'] = mappings
    good, missing, extra = machine.results('resources')
    assert good.status == 'ok'
    assert missing.status == 'warning'
    assert missing.message == (
        'intel.com/physnet9 is not offered by the kubelet.'
    )
    assert extra.status == 'warning'
    assert 'add physnet23:DRIVER' in extra.remedy


def test_no_resource_offered_at_all_fails(machine):
    machine.sriov['resource_driver_mappings'] = 'physnet9:netdevice'
    missing, *_ = machine.results('resources')
    assert missing.status == 'failed'


def test_the_same_name_under_another_prefix_is_pointed_out(machine):
    machine.sriov['device_plugin_resource_prefix'] = 'example.org'
    for failure in machine.results('resources'):
        assert failure.status == 'failed'
        assert 'device_plugin_resource_prefix = intel.com' in failure.remedy


def test_a_resource_without_nics_needs_no_driver(machine):
    machine.kubelet.plug('intel.com/qat', ['0000:7f:00.1'])
    assert {r.status for r in machine.results('resources')} == {'ok'}


# The ledger


def test_a_state_dir_that_is_not_there_can_be_made(machine):
    machine.sriov['state_dir'] = machine.folder / 'not/yet'
    result = machine.result('state_dir')
    assert result.status == 'ok'
    assert result.message.endswith('not there yet, and can be made')
    assert machine.result('ledger').message == 'attachments on record: 0'


def test_a_file_in_the_way_of_state_dir_fails(machine, tmp_path):
    (tmp_path / 'state').touch()
    result = machine.result('state_dir')
    assert result.status == 'failed'
    assert 'is not a directory' in result.message
    assert machine.result('ledger').status == 'failed'
    assert machine.result('leftovers').status == 'skipped'


def test_a_state_dir_that_cannot_be_written_fails(machine, monkeypatch):
    """Root can write anywhere but on a read-only file system."""
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    result = machine.result('state_dir')
    assert result.status == 'failed'
    assert 'not writable' in result.message


def test_a_running_pod_is_no_leftover(machine):
    machine.attach()
    assert machine.result('leftovers') == checks.ok('none')


def test_a_netns_that_is_gone_leaves_its_vf(machine):
    machine.attach()
    machine.node.delete_netns(NETNS)
    result = machine.result('leftovers')
    assert result.status == 'warning'
    assert result.message == (
        f'VF {machine.node.vfs(PF)[0]}, net1 of pod default/nginx: there is '
        f'no network namespace {NETNS}.'
    )
    assert 'restart the daemon' in result.remedy


def test_a_reboot_leaves_records(machine):
    machine.attach()
    machine.node.reboot()
    assert 'before the last boot' in machine.result('leftovers').message


def test_an_attach_that_was_killed_leaves_its_record(machine):
    class Killed(BaseException):
        """Nobody catches it."""

    def kill(operation):
        raise Killed

    machine.node.on_change(kill)
    with pytest.raises(Killed):
        machine.attach()
    assert 'not complete' in machine.result('leftovers').message


def test_without_proc_leftovers_cannot_be_told(machine):
    shutil.rmtree(machine.node.host.pci.root / 'proc')
    assert machine.result('leftovers').status == 'skipped'


# What is printed


def command(machine, *arguments):
    machine.conf()
    return main(
        [
            'check',
            '--config-file',
            str(machine.folder / 'kuryr.conf'),
            '--root',
            str(machine.folder / 'node'),
            *arguments,
        ]
    )


def test_the_exit_status_tells_the_truth(machine, capsys):
    assert command(machine) == 0
    assert 'This node is ready' in capsys.readouterr().out
    machine.sriov['vif_driver'] = 'nutron'
    assert command(machine) == 1
    assert 'This node is not ready' in capsys.readouterr().out


def test_a_file_that_is_not_there_is_a_finding(machine, capsys):
    assert main(['check', '--config-file', '/nowhere/kuryr.conf']) == 1
    assert 'failed  kuryr.conf' in capsys.readouterr().out


def test_json_has_each_finding(machine, capsys):
    machine.node.recreate_vfs(OTHER_PF, 0)
    assert command(machine, '--json') == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ['ready', 'results']
    assert printed['ready'] is True
    assert printed['results'][-6] == {
        'check': 'resources',
        'status': 'ok',
        'message': f'{P22} (driver vfio-pci), devices: 2',
        'remedy': '',
        'commands': [],
        'unmet': [],
    }


def test_what_another_failure_skips_is_one_line(machine):
    error = exceptions.ConfigurationError(['cannot be parsed'])
    findings = machine.findings(conf=None, error=error)
    text = '\n'.join(preflight.report_lines(findings))
    assert text.count('skipped') == 2  # the line, and the count of them
    (line,) = re.findall(r'^skipped.*(?:\n .*)*', text, re.MULTILINE)
    assert ' '.join(line.split()) == (
        'skipped 12 checks options, drivers, provider, guest VFs, userspace, '
        'kubelet, resources, state_dir, ledger, leftovers, CNI, nodes: '
        'because of kuryr.conf'
    )


def test_a_remedy_that_lines_share_is_said_once(machine):
    findings = [
        checks.Finding('ledger', checks.warning(text, 'Restart it.'))
        for text in ('One.', 'Two.')
    ]
    assert list(preflight.report_lines(findings)) == [
        'warning ledger      One.',
        'warning ledger      Two.',
        '                    -> Restart it.',
        '',
        'This node is ready (warning: 2).',
    ]


def test_commands_stand_alone_to_be_copied(machine):
    machine.node.recreate_vfs(OTHER_PF, 0)
    lines = list(preflight.report_lines(machine.findings()))
    path = f'/sys/bus/pci/devices/{OTHER_PF}/sriov_numvfs'
    assert f'{" " * 23}# echo 7 > {path}' in lines


def test_lines_fit_80_columns_unless_a_word_does_not(machine, tmp_path):
    machine.node = SimulatedNode(
        tmp_path / 'vm', [Vf('0000:09:00.0', 'eth4')], iommu='off'
    )
    lines = preflight.report_lines(machine.findings())
    assert all(len(line) <= 80 for line in lines if '/' not in line)
