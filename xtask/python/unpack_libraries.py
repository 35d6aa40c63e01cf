"""Takes the shared libraries of a wheel that are in one folder of it: unpack_libraries.py WHEEL_FOLDER FOLDER_IN_WHEEL INTO.

Python's own extension modules, which need a Python, stay behind: their names do not begin with `lib`.
"""

import pathlib
import re
import shutil
import sys
import zipfile


def main(folder: pathlib.Path, within: str, into: pathlib.Path) -> None:
    (wheel,) = folder.glob("*.whl")
    library = re.compile(re.escape(within) + r"/(lib[^/]*\.so[^/]*)")
    into.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            match = library.fullmatch(name)
            if match:
                with archive.open(name) as source, open(into / match[1], "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]))
