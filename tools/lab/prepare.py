# SPDX-License-Identifier: Apache-2.0
"""Everything the lab's machine is made of, made once and kept in a folder.

QEMU comes from Debian 13 and runs through the dynamic loader of its own
release; the kernel and the guest's tools come from the release that this
machine runs, because the guest shares this machine's root file system.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.lab import packages
from tools.lab.errors import LabError
from tools.lab.kernelmodules import BUILDS, kernel_release, make_modules
from tools.lab.process import run, say
from tools.lab.recipes import (
    BOOT_MODULES,
    GUEST_PACKAGES,
    QEMU_RELEASE,
    TOOLS,
    Toolbox,
    make_base,
    make_python,
    make_start,
    make_toolbox,
)

RECIPE = 1
"""Raised whenever what is prepared changes shape: old caches are redone."""

SPACE = 3 << 30


def cache_folder() -> Path:
    """Where everything the lab makes is kept."""
    chosen = os.environ.get('KURYR_SRIOV_LAB_CACHE')
    return Path(chosen or '~/.cache/kuryr-sriov-lab').expanduser().absolute()


@dataclass(frozen=True, slots=True)
class Machine:
    """What is needed to boot, as files on this machine."""

    toolbox: Toolbox
    kernel: Path
    initramfs: Path
    base_image: Path
    python_image: Path
    python_trees: tuple[str, ...]


def prepare(interpreter: Path, repository: Path) -> Machine:
    """Make what is missing in the cache folder; cheap when nothing is.

    :raises LabError: this machine lacks something, or a download failed.
    """
    check_machine()
    release = packages.host_release()
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / 'lock'):
        toolbox = Toolbox(
            cached(
                folder / 'toolbox',
                f'{RECIPE} {TOOLS}',
                f'QEMU of Debian {QEMU_RELEASE}',
                lambda target: make_toolbox(target, release),
            )
        )
        base = cached(
            folder / 'base',
            f'{RECIPE} {release} {GUEST_PACKAGES} {BOOT_MODULES}',
            f'kernel and tools of Debian {release}',
            lambda target: make_base(target, release, toolbox),
        )
        trees = python_trees(interpreter, repository)
        python = cached(
            folder / 'python',
            f'{RECIPE} {fingerprint(trees)}',
            f'Python libraries of {interpreter}',
            lambda target: make_python(target, trees, toolbox),
        )
        return Machine(
            toolbox=toolbox,
            kernel=base / 'vmlinuz',
            initramfs=make_start(folder, base),
            base_image=base / 'base.img',
            python_image=python / 'python.img',
            python_trees=tuple(str(tree) for tree in trees),
        )


def prepare_modules(machine: Machine, builds: Sequence[str]) -> list[Path]:
    """Files of the modules that are built for the machine's kernel.

    :raises LabError: they cannot be built.
    """
    release = packages.host_release()
    folder = cache_folder()
    found: list[Path] = []
    with locked(folder / 'lock'):
        for name in builds:
            build = BUILDS[name]
            ready = cached(
                folder / f'modules-{name}',
                f'{RECIPE} {kernel_release(machine.kernel)} {build}',
                f'modules {", ".join(build.modules)}',
                functools.partial(
                    make_modules,
                    build=build,
                    release=release,
                    kernel=machine.kernel,
                ),
            )
            found += sorted(ready.glob('*.ko'))
    return found


def check_machine() -> None:
    """Say what the lab cannot do without, before anything is fetched."""
    if platform.system() != 'Linux' or platform.machine() != 'x86_64':
        raise LabError(
            f'this is {platform.system()} on {platform.machine()}',
            'the lab needs Linux on amd64',
        )
    parent = cache_folder()
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        raise LabError(
            f'{parent} is not writable',
            'set KURYR_SRIOV_LAB_CACHE to a folder that is',
        )
    free = shutil.disk_usage(parent).free
    if free < SPACE and not (cache_folder() / 'base').exists():
        raise LabError(
            f'{parent} has {free >> 20} MiB free of {SPACE >> 20} needed',
            'make room, or set KURYR_SRIOV_LAB_CACHE to another folder',
        )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One preparation at a time; says so when it has to wait."""
    with open(path, 'w', encoding='utf-8') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('waiting for another preparation of the same cache folder')
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(
    target: Path, key: str, what: str, make: Callable[[Path], None]
) -> Path:
    """A folder that *make* filled for *key*, now or in an earlier run.

    Its name holds a digest of the key, and it appears complete or not at
    all. A machine still running on an older one keeps its open files.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    ready = target.with_name(f'{target.name}-{digest}')
    if ready.is_dir():
        os.utime(ready)
        return ready
    say(f'preparing {what} in {ready}')
    start = time.monotonic()
    work = target.with_name(f'{target.name}.tmp')
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    make(work)
    for old in outdated(target):
        shutil.rmtree(old, ignore_errors=True)
    work.rename(ready)
    say(f'prepared {what} in {time.monotonic() - start:.0f} s')
    return ready


def outdated(target: Path) -> list[Path]:
    """Folders made for other keys, but for the one used last."""
    found = sorted(
        target.parent.glob(f'{target.name}-*'),
        key=lambda path: path.stat().st_mtime,
    )
    return found[:-1]


def python_trees(interpreter: Path, repository: Path) -> list[Path]:
    """The folders that the interpreter imports from, without the project.

    :raises LabError: it does not run, or is older than Python 3.11.
    """
    remedy = 'make the virtual environment first (make venv), or set'
    remedy += ' KURYR_SRIOV_LAB_PYTHON'
    if not interpreter.exists():
        raise LabError(f'there is no {interpreter}', remedy)
    said = run(
        [
            interpreter,
            '-Ic',
            'import json, sys; import pytest, pyroute2;'
            'assert sys.version_info >= (3, 11), sys.version;'
            'print(json.dumps(sys.path))',
        ],
        doing=f'asking {interpreter} where it imports from',
        remedy=remedy,
    )
    found = [Path(item) for item in json.loads(said) if Path(item).is_dir()]
    outside = [path for path in found if path != repository]
    return [
        path
        for path in outside
        if not any(other in path.parents for other in outside)
    ]


def fingerprint(trees: list[Path]) -> str:
    """Changes whenever a file in the folders does."""
    digest = hashlib.sha256()
    for tree in trees:
        digest.update(str(tree).encode())
        for folder, folders, names in os.walk(tree):
            unused = {'__pycache__'} | {'site-packages', 'dist-packages'}
            folders[:] = sorted(set(folders) - unused)
            for name in sorted(names):
                facts = os.lstat(os.path.join(folder, name))
                line = f'{folder}/{name} {facts.st_size} {facts.st_mtime_ns}\n'
                digest.update(line.encode())
    return digest.hexdigest()
