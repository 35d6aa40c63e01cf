"""Control groups of our own, where the kernel lets us make them: a server started in one has its limits."""

import contextlib
import os
import pathlib
import shlex
from collections.abc import Iterator

import pytest

from nereid_process import binary, wait_until

ROOT = pathlib.Path("/sys/fs/cgroup")


class Group:
    """A group of one controller."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def read(self, name: str) -> dict[str, int]:
        """A file of `name value` lines."""
        return {key: int(number) for key, number in (line.split() for line in (self.path / name).read_text().splitlines())}

    def program(self, script: pathlib.Path) -> str:
        """A program that is the server, in this group."""
        procs = shlex.quote(str(self.path / "cgroup.procs"))
        script.write_text(f'#!/bin/sh\necho $$ > {procs} || exit 9\nexec {shlex.quote(binary())} "$@"\n')
        script.chmod(0o755)
        return str(script)


@contextlib.contextmanager
def group(controller: str, **limits: str) -> Iterator[Group]:
    """A group with limits under the names of version 1. Skips the test where there can be none."""
    home = ROOT / controller
    if not (home / "cgroup.procs").exists() or not os.access(home, os.W_OK):
        pytest.skip(f"no control group of version 1 can be made for '{controller}' here")
    own = home / f"nereid-test-{os.getpid()}"
    try:
        own.mkdir()
        for name, value in limits.items():
            (own / f"{controller}.{name}").write_text(value)
    except OSError as reason:
        with contextlib.suppress(OSError):
            own.rmdir()
        pytest.skip(f"no control group can be made for '{controller}' here: {reason}")
    try:
        yield Group(own)
    finally:
        wait_until(lambda: not (own / "cgroup.procs").read_text(), 30, "nobody is in the group")
        own.rmdir()
