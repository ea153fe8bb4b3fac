# SPDX-License-Identifier: Apache-2.0
"""The RDMA device of a function by sysfs, wherever it is."""

from kuryr_sriov.host import rdma_files
from kuryr_sriov.host.rdma_files import RdmaNames


def make(path, here='mlx5_1', ibdev='mlx5_1', verbs='uverbs3'):
    """A function's folder, as the kernel shows it to the node."""
    if here:
        (path / 'infiniband' / here).mkdir(parents=True)
    folder = path / 'infiniband_verbs' / verbs
    folder.mkdir(parents=True)
    if ibdev:
        (folder / 'ibdev').write_text(f'{ibdev}\n')
    return path


def test_a_device_at_home(tmp_path):
    assert rdma_files.read_names(make(tmp_path)) == RdmaNames(
        'mlx5_1', True, 'uverbs3'
    )


def test_one_in_a_pod_is_named_by_its_verbs_device(tmp_path):
    path = make(tmp_path, here='', ibdev='mine')
    assert rdma_files.read_names(path) == RdmaNames('mine', False, 'uverbs3')


def test_one_that_changes_its_namespace_has_no_name(tmp_path):
    path = make(tmp_path, here='', ibdev='')
    assert rdma_files.read_names(path) == RdmaNames('', False, 'uverbs3')


def test_a_function_without_one(tmp_path):
    assert rdma_files.read_names(tmp_path) == RdmaNames()


def test_its_device_nodes(tmp_path):
    assert rdma_files.list_nodes(tmp_path, '') == ()
    nodes = rdma_files.list_nodes(tmp_path, 'uverbs3')
    assert nodes == ('/dev/infiniband/uverbs3',)
    (tmp_path / rdma_files.CONNECTION_MANAGER).mkdir(parents=True)
    nodes = rdma_files.list_nodes(tmp_path, 'uverbs3')
    assert nodes[1:] == ('/dev/infiniband/rdma_cm',)
