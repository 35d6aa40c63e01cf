"""Takes the shared libraries of ONNX Runtime out of its wheel: unpack_libraries.py WHEEL_FOLDER INTO.

Python's own extension module, which needs a Python, stays behind.
"""

import pathlib
import re
import shutil
import sys
import zipfile

LIBRARY = re.compile(r"onnxruntime/capi/(libonnxruntime[^/]*\.so[^/]*)")


def main(folder: pathlib.Path, into: pathlib.Path) -> None:
    (wheel,) = folder.glob("*.whl")
    into.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            match = LIBRARY.fullmatch(name)
            if match:
                with archive.open(name) as source, open(into / match[1], "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
