# SPDX-License-Identifier: Apache-2.0
"""Images without a registry: built by buildah, as archives in a folder."""

from __future__ import annotations

import hashlib
import importlib.metadata
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

import servers
from kubelab.install import ensure_runtime_installed

from tools.lab.process import need

REPOSITORY = pathlib.Path(__file__).parents[3]
CONTAINERFILE = REPOSITORY / 'deploy/Containerfile'
POD = REPOSITORY / 'tests/cluster/images'

DEBIAN = 'bookworm'
BASE = 'python3', 'ca-certificates'
BUILDER = *BASE, 'python3-venv', 'gcc', 'libc6-dev', 'make'

DAEMONS: Mapping[str, str] = {
    target: f'docker.io/library/kuryr-sriov-{target}:latest'
    for target in ('controller', 'node')
}
POD_IMAGE = 'docker.io/library/nginx:1.29'
"""The how-to's; sandboxes run it too."""

IGNORED = REPOSITORY / '.dockerignore'

DISK_SIZE = 16 << 30
DISK_KEY = f'1 {DISK_SIZE}'
SEEDING = """\
version = 3
disabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.nri.v1.nri']
"""

CERTIFICATES = '/etc/ssl/certs'


def ensure_daemon_images() -> Mapping[str, pathlib.Path]:
    """Archives of the images of this tree, by target of the Containerfile.

    :raises subprocess.CalledProcessError: something cannot be built.
    """
    digest = hashlib.sha256(_ensure_bases().name.encode())
    for file in (CONTAINERFILE, IGNORED, *source_files()):
        name = file.relative_to(REPOSITORY)
        digest.update(f'{name} '.encode() + file.read_bytes())
    folder = servers.made_once('images', digest.digest(), _build_daemons)
    return {target: folder / f'{target}.tar' for target in DAEMONS}


def source_files() -> list[pathlib.Path]:
    """What the daemons' images are made of, as .dockerignore says."""
    lines = IGNORED.read_text().splitlines()
    paths = [REPOSITORY / each[1:] for each in lines if each[:1] == '!']
    files = [
        file
        for path in paths
        for file in (path.rglob('*') if path.is_dir() else [path])
        if file.is_file()
        and not {'__pycache__', 'build'}.intersection(file.parts)
    ]
    return sorted(files)


def ensure_pod_image() -> pathlib.Path:
    """Archive of the image for pods, which has both of its names."""
    files = sorted(POD.iterdir())
    key = POD_IMAGE.encode()
    key += b''.join(file.read_bytes() for file in files)
    return servers.made_once('pod-image', key, _build_pod) / 'pod.tar'


def ensure_disk() -> pathlib.Path:
    """A node's disk, on which containerd has all of these images.

    It is made here, because unpacking them on the node takes minutes.
    """
    archives = ensure_pod_image(), *ensure_daemon_images().values()
    key = DISK_KEY + ''.join(str(each) for each in archives)

    def make(folder: pathlib.Path) -> None:
        folder.mkdir()
        seed = folder / 'seed'
        _import_images(seed / 'var/lib/containerd', archives)
        disk = folder / 'disk.img'
        with open(disk, 'wb') as out:
            out.truncate(DISK_SIZE)
        mke2fs = need('mke2fs', 'e2fsprogs'), '-q', '-F', '-t', 'ext4'
        _run(*mke2fs, '-d', seed, disk)
        shutil.rmtree(seed)

    return servers.made_once('disk', key.encode(), make) / 'disk.img'


def _import_images(
    root: pathlib.Path, archives: Sequence[pathlib.Path]
) -> None:
    """Have a containerd unpack images into its folder, and end it."""
    programs = ensure_runtime_installed()
    with tempfile.TemporaryDirectory(prefix='containerd-') as name:
        work = pathlib.Path(name)
        socket = work / 'containerd.sock'
        config = work / 'config.toml'
        config.write_text(SEEDING)
        daemon = subprocess.Popen(
            [
                programs / 'containerd',
                *('--config', config, '--root', root),
                *('--state', work / 'state', '--address', socket),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            ctr = programs / 'ctr', '--address', socket, '-n', 'k8s.io'
            servers.wait_for(
                lambda: (
                    not subprocess.run(
                        [*ctr, 'version'], capture_output=True, check=False
                    ).returncode
                ),
                60,
                'containerd to answer',
            )
            for archive in archives:
                _run(*ctr, 'images', 'import', archive)
        finally:
            daemon.terminate()
            daemon.wait(30)


def _ensure_bases() -> pathlib.Path:
    """A folder with Debian's Python as tar files, to build on and to run."""
    key = repr((DEBIAN, BASE, BUILDER)).encode()
    return servers.made_once('bases', key, _make_bases)


def _make_bases(folder: pathlib.Path) -> None:
    folder.mkdir()
    for name, packages in (('base', BASE), ('builder', BUILDER)):
        root = folder / name
        _run(
            need('debootstrap', 'debootstrap'),
            *('--variant=minbase', f'--include={",".join(packages)}'),
            *(DEBIAN, root),
        )
        for unused in ('var/cache/apt', 'var/lib/apt/lists', 'usr/share/doc'):
            shutil.rmtree(root / unused)
        _run('tar', '-C', root, '-cf', folder / f'{name}.tar', '.')
        shutil.rmtree(root)


class Storage:
    """Where buildah keeps what it works on."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def run(self, *words: str | pathlib.Path) -> str:
        """What buildah says."""
        return _run(
            need('buildah', 'buildah'),
            *('--root', self._folder / 'storage'),
            *(
                '--runroot',
                self._folder / 'run',
                '--storage-driver',
                'overlay',
            ),
            *words,
        ).strip()

    def build(self, *words: str | pathlib.Path) -> None:
        """Build from a Containerfile, as root in a chroot."""
        self.run('build', '--isolation', 'chroot', *words)

    def save(self, image: str, target: pathlib.Path, name: str) -> None:
        """Write an image with its layers as they are to a file.

        In Docker's form: buildah compresses the layers of the other one.

        :param name: by which a runtime knows it afterwards.
        """
        self.run('push', '--quiet', image, f'docker-archive:{target}:{name}')

    def add_base(self, image: str, tar: pathlib.Path) -> None:
        """Make an image of a tar file."""
        container = self.run('from', 'scratch')
        self.run('add', '--quiet', container, tar, '/')
        self.run('commit', '--rm', '--quiet', container, image)


def _build_daemons(folder: pathlib.Path) -> None:
    folder.mkdir()
    storage = Storage(folder / 'work')
    for name in ('base', 'builder'):
        storage.add_base(name, _ensure_bases() / f'{name}.tar')
    version = importlib.metadata.version('kuryr-sriov')
    for target, image in DAEMONS.items():
        storage.build(
            *('--layers', '--file', CONTAINERFILE, '--target', target),
            *('--build-arg', 'BUILDER=localhost/builder'),
            *('--build-arg', 'BASE=localhost/base'),
            *('--build-arg', f'VERSION={version}'),
            # pip trusts whom this machine trusts
            *('--volume', f'{CERTIFICATES}:{CERTIFICATES}:ro'),
            *('--tag', image, REPOSITORY),
        )
        storage.save(image, folder / f'{target}.tar', image)
    shutil.rmtree(folder / 'work')


def _build_pod(folder: pathlib.Path) -> None:
    context = folder / 'work' / 'context'
    context.mkdir(parents=True)
    storage = Storage(folder / 'work')
    compiler = need('gcc', 'gcc'), '-static', '-O2', '-Wall', '-Werror', '-o'
    _run(*compiler, context / 'open-vfio', POD / 'open-vfio.c')
    busybox = need('busybox', 'busybox-static')
    shutil.copy(busybox, context)
    storage.build('--file', POD / 'Containerfile', '--tag', 'pod', context)
    storage.save('pod', folder / 'pod.tar', POD_IMAGE)
    shutil.rmtree(folder / 'work')


def _run(*words: str | pathlib.Path) -> str:
    done = subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout
