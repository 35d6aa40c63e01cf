"""The stand-ins for NVIDIA's libraries: where they are, and a folder in which a server finds them under their names."""

import os
import pathlib

NAMES = {"fake_cuda": "libcuda.so.1"}


def library(name: str) -> pathlib.Path:
    """`cargo xtask test` builds them and names their folder."""
    folder = os.environ.get("NEREID_FAKES") or pathlib.Path(__file__).parents[2] / "target/debug/examples"
    path = pathlib.Path(folder) / f"lib{name}.so"
    assert path.is_file(), f"{path} is not there: cargo build --package nereid-fakes --examples"
    return path


def environment(folder: pathlib.Path, *names: str, **variables: str) -> dict[str, str]:
    """Variables for a server that is to load these, with others; `folder` is for their links, and becomes theirs alone."""
    folder.mkdir()
    for name in names:
        (folder / NAMES[name]).symlink_to(library(name))
    paths = [str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"LD_LIBRARY_PATH": ":".join(paths), **variables}
