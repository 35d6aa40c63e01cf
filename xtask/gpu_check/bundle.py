"""The bundle that a GPU machine without network gets: what is in it, cut into parts, and back again.

An item is a tar of some files, compressed by xz and cut into parts that fit through a narrow door. The manifest names
them with their SHA-256. Both ways go on where they were interrupted, and a changed file changes only its item's parts.
"""

import hashlib
import json
import lzma
import os
import pathlib
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

MANIFEST = "manifest.json"
PART_BYTES = 60 << 20
PIECE = 1 << 20
Progress = Callable[[str], None]


class BundleError(Exception):
    """The bundle cannot be made or is not what its manifest says."""


@dataclass
class File:
    """A file as it will lie there. `path` is relative to the folder it is unpacked into."""

    path: str
    bytes: int
    mode: int
    sha256: str


@dataclass
class Part:
    name: str
    bytes: int
    sha256: str


@dataclass
class Item:
    name: str
    files: list[File] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)

    def digest(self) -> str:
        """Stands for every path, mode and byte of the item."""
        return hashlib.sha256(json.dumps([asdict(f) for f in self.files]).encode()).hexdigest()


def read_manifest(folder: pathlib.Path) -> list[Item]:
    """The items of the bundle in `folder`; none if there is no bundle."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise BundleError(f"{folder / MANIFEST} is not a manifest: {error}") from None
    return [Item(i["name"], [File(**f) for f in i["files"]], [Part(**p) for p in i["parts"]]) for i in manifest["items"]]


def pack(wanted: dict[str, dict[str, str]], out: pathlib.Path, part_bytes: int = PART_BYTES, say: Progress = print) -> list[Item]:
    """Makes the bundle of `wanted`, a map from item to a map from path to source file, in `out`. Items that were packed
    before and are not wanted now stay as they are."""
    out.mkdir(parents=True, exist_ok=True)
    items = {item.name: item for item in read_manifest(out)}
    for name, sources in wanted.items():
        item = Item(name, [_describe(path, pathlib.Path(source)) for path, source in sorted(sources.items())])
        before = items.get(name)
        if before and before.digest() == item.digest() and all(_is_right(out, part) for part in before.parts):
            say(f"{name}: {len(before.parts)} part(s), as they were")
            continue
        item.parts = _compress(item, sources, out, part_bytes, say)
        for part in before.parts if before else []:
            if part.name not in {p.name for p in item.parts}:
                (out / part.name).unlink(missing_ok=True)
        items[name] = item
        _write(out / MANIFEST, json.dumps({"format": 1, "items": [asdict(i) for i in items.values()]}, indent=1).encode())
        total = sum(part.bytes for part in item.parts)
        say(f"{name}: {len(item.parts)} part(s), {total / 1e6:.1f} MB of {sum(f.bytes for f in item.files) / 1e6:.1f} MB")
    return list(items.values())


@dataclass
class Unpacked:
    """What could be unpacked, and which parts are still to come."""

    items: list[str]
    missing: list[str]


def unpack(source: pathlib.Path, into: pathlib.Path, say: Progress = print) -> Unpacked:
    """Unpacks every item whose parts have all arrived. Parts of the others are kept in `into`, so that the next may come
    without them."""
    kept = into / ".parts"
    kept.mkdir(parents=True, exist_ok=True)
    if (source / MANIFEST).exists() and source != kept:
        shutil.copy(source / MANIFEST, kept / MANIFEST)
    items = read_manifest(kept)
    if not items:
        raise BundleError(f"there is no {MANIFEST} in {source}")
    result = Unpacked([], [])
    for item in items:
        stamp = into / ".unpacked" / item.name
        if stamp.exists() and stamp.read_text() == item.digest():
            result.items.append(item.name)
            continue
        places = {part.name: _find(part, source, kept, say) for part in item.parts}
        absent = [name for name, place in places.items() if place is None]
        if absent:
            for name, place in places.items():
                if place and place.parent != kept:
                    _write(kept / name, place.read_bytes())
            result.missing += absent
            continue
        _extract(item, [place for place in places.values() if place], into)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(item.digest())
        for name in places:
            (kept / name).unlink(missing_ok=True)
        result.items.append(item.name)
        say(f"{item.name}: unpacked, {len(item.files)} file(s)")
    return result


def sha256_of(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _describe(path: str, source: pathlib.Path) -> File:
    try:
        status = source.stat()
    except OSError as error:
        raise BundleError(f"cannot pack {source}: {error.strerror}") from None
    return File(path, status.st_size, 0o755 if status.st_mode & 0o100 else 0o644, sha256_of(source))


def _is_right(folder: pathlib.Path, part: Part) -> bool:
    path = folder / part.name
    return path.is_file() and path.stat().st_size == part.bytes and sha256_of(path) == part.sha256


class _Parts:
    """A file that is written into as many files as it takes. One that is there already with the same bytes stays."""

    def __init__(self, name: str, folder: pathlib.Path, part_bytes: int) -> None:
        self.name, self.folder, self.part_bytes = name, folder, part_bytes
        self.buffer, self.parts = bytearray(), []

    def write(self, data: bytes) -> int:
        self.buffer += data
        while len(self.buffer) >= self.part_bytes:
            self._cut(self.part_bytes)
        return len(data)

    def close(self) -> None:
        if self.buffer:
            self._cut(len(self.buffer))

    def _cut(self, size: int) -> None:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        part = Part(f"{self.name}.{len(self.parts) + 1:02}.part", size, hashlib.sha256(data).hexdigest())
        self.parts.append(part)
        if not _is_right(self.folder, part):
            _write(self.folder / part.name, data)


class _Progress:
    """Reads a file for tar and says every tenth of the item."""

    def __init__(self, file: object, item: Item, say: Progress) -> None:
        self.file, self.item, self.say = file, item, say
        self.done, self.said, self.total = 0, 0, max(1, sum(f.bytes for f in item.files))

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.done += len(data)
        if self.total > 32 << 20 and self.done * 10 // self.total > self.said:
            self.said = self.done * 10 // self.total
            self.say(f"{self.item.name}: {self.said * 10} %")
        return data


def _compress(item: Item, sources: dict[str, str], out: pathlib.Path, part_bytes: int, say: Progress) -> list[Part]:
    parts = _Parts(item.name, out, part_bytes)
    progress = _Progress(None, item, say)
    with lzma.open(parts, "wb", preset=6) as stream, tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for file in item.files:
            info = tarfile.TarInfo(file.path)
            info.size, info.mode = file.bytes, file.mode
            with open(sources[file.path], "rb") as progress.file:
                tar.addfile(info, progress)
    parts.close()
    return parts.parts


def _find(part: Part, source: pathlib.Path, kept: pathlib.Path, say: Progress) -> pathlib.Path | None:
    for folder in (source, kept):
        if _is_right(folder, part):
            return folder / part.name
        if (folder / part.name).exists():
            say(f"{folder / part.name} is damaged or of another bundle: it does not count")
    return None


class _Joined:
    """The parts as one file, for lzma."""

    def __init__(self, paths: list[pathlib.Path]) -> None:
        self.pieces = self._read(paths)

    @staticmethod
    def _read(paths: list[pathlib.Path]) -> Iterator[bytes]:
        for path in paths:
            with open(path, "rb") as file:
                while piece := file.read(PIECE):
                    yield piece

    def read(self, _size: int = -1) -> bytes:
        return next(self.pieces, b"")


def _extract(item: Item, parts: list[pathlib.Path], into: pathlib.Path) -> None:
    """Only what the manifest names is written, and nothing outside `into`."""
    expected = {file.path: file for file in item.files}
    with lzma.open(_Joined(parts)) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            file = expected.pop(member.name, None)
            target = (into / member.name).resolve()
            content = tar.extractfile(member)
            if file is None or content is None or into.resolve() not in target.parents:
                raise BundleError(f"{item.name} holds '{member.name}', which its manifest does not name as a file")
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(target.name + ".part")
            with open(temporary, "wb") as sink:
                shutil.copyfileobj(content, sink, PIECE)
            if sha256_of(temporary) != file.sha256:
                raise BundleError(f"'{member.name}' of {item.name} is not what the manifest says")
            temporary.chmod(file.mode)
            os.replace(temporary, target)
    if expected:
        raise BundleError(f"{item.name} lacks {', '.join(expected)}")


def _write(path: pathlib.Path, data: bytes) -> None:
    """All of it or nothing."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
