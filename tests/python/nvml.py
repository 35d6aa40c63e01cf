"""A stand-in for the management library of a GPU's driver, and what it says. Knows no test."""

import pathlib
import shutil

import fakes


class Nvml:
    """A library in `folder`, a copy of its own, which says what the file beside it says; see `fake_nvml.rs`."""

    def __init__(self, folder: pathlib.Path, conf: str) -> None:
        self.folder = folder
        shutil.copy(fakes.library("fake_nvml"), folder / "libnvidia-ml.so.1")
        self.say(conf)

    def say(self, conf: str) -> None:
        """At once, however often it is read meanwhile."""
        (self.folder / "new").write_text(conf)
        (self.folder / "new").rename(self.folder / "fake_nvml.conf")
