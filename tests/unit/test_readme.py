# SPDX-License-Identifier: Apache-2.0
"""The README's lines to embed the library are run, as they stand there."""

import re
import textwrap
from pathlib import Path

import pytest

from kuryr_sriov import model
from kuryr_sriov.cmd.demo import howto_files
from kuryr_sriov.host import linux as host_node
from kuryr_sriov.npwg import requests
from kuryr_sriov.testing.simulation.kubelet import Kubelet
from kuryr_sriov.testing.simulation.simulated_node import SimulatedNode

README = Path(__file__).parents[2] / 'README.rst'


def blocks():
    """The code blocks, each dedented."""
    pattern = r'\.\. code-block:: python\n\n((?:    .*\n|\n)+)'
    found = re.findall(pattern, README.read_text())
    return [textwrap.dedent(block).strip() for block in found]


@pytest.fixture
def files():
    return howto_files.read_howto(howto_files.default_folder())


def run(block, conf, names):
    """Execute it with a kuryr.conf of the test's own."""
    listed = [str(file) for file in conf.config_file]
    code = block.replace("['/etc/kuryr/kuryr.conf']", repr(listed))
    assert code != block
    exec(compile(code, str(README), 'exec'), names)
    return names


def test_each_root_is_embedded_in_under_ten_lines():
    assert len(blocks()) == 2
    for block in blocks():
        assert len([line for line in block.splitlines() if line]) < 10


def test_the_lines_do_what_they_say(tmp_path, files, monkeypatch):
    (tmp_path / 'kube').mkdir()
    conf = files.conf(tmp_path)
    simulated = SimulatedNode(tmp_path / 'node', files.pfs())
    before = simulated.state()
    monkeypatch.setattr(host_node, 'NodeHost', lambda **_: simulated.host)
    published = {}
    pod = requests.pod_of(files.pod)
    names = {
        'get_nad': files.get_nad,
        'publish': published.__setitem__,
        'body': files.pod,
        'location': model.Location(
            'node1', '0000:02:10.0', '8086:10ca', 'physnet22'
        ),
    }
    controller, node = blocks()
    names = run(controller, conf, names)
    assert published == {pod: names['vifs']}
    assert names['vif'].active
    assert not list(names['controller'].vifs.list_vifs())

    with Kubelet(tmp_path / 'kube') as kubelet:
        for name, (pf,) in files.pools.items():
            kubelet.plug(f'intel.com/{name}', simulated.vfs(pf))
        kubelet.allocate('default', pod.name, pod.uid, files.requests())
        netns = simulated.add_netns('/run/netns/pod')
        names['sandbox'] = model.Sandbox('c1', netns, pod)
        names = run(node, conf, names)
    assert [a.driver for a in names['attached']] == ['vfio-pci', 'netdevice']
    assert simulated.state() == before
    names['node'].close()
