# SPDX-License-Identifier: Apache-2.0
"""Running programs: quiet when they succeed, quoted when they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.lab.errors import LabError


def say(text: str) -> None:
    """Tell the user what is being done."""
    print(f'lab: {text}', file=sys.stderr, flush=True)


def need(program: str, package: str) -> str:
    """Path of a program of this machine.

    :raises LabError: it is not installed; names the package that has it.
    """
    found = shutil.which(program, path=f'{os.defpath}:/usr/sbin:/sbin')
    if found is None:
        raise LabError(
            f'{program} is not on this machine',
            f'the lab needs Debian 12 or newer; install {package}',
        )
    return found


def run(
    argv: Sequence[str | Path],
    *,
    doing: str,
    remedy: str,
    stdin: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> str:
    """What the program wrote to its standard output.

    :raises LabError: it failed or took longer than *timeout* seconds; says
        what was being done and quotes the end of what the program said.
    """
    words = [str(word) for word in argv]
    with open(stdin or os.devnull, 'rb') as source:
        try:
            done = subprocess.run(
                words,
                stdin=source,
                capture_output=True,
                env={**os.environ, 'LC_ALL': 'C', **(env or {})},
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(
                f'{doing}: {words[0]} did not end in {timeout:.0f} s', remedy
            ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors='replace')
        last = ' | '.join(said.strip().splitlines()[-3:])
        raise LabError(
            f'{doing}: {words[0]} failed ({done.returncode}): {last}', remedy
        )
    return done.stdout.decode(errors='replace')
