"""The CPU image of docker/Dockerfile, as an archive under the name that the manifests use."""

import hashlib
import pathlib

import container
from container import sh

TAG = "localhost/nereid-lab:1"
NAME = "docker.io/library/nereid:0.1.0"  # `nereid:0.1.0`, in full


def archive(root: pathlib.Path, work: pathlib.Path, server: pathlib.Path) -> pathlib.Path:
    """Built again only for another server or another Dockerfile."""
    made_from = hashlib.sha256(server.read_bytes() + (root / "docker/Dockerfile").read_bytes()).hexdigest()
    file, stamp = work / "image.tar", work / "image.made-from"
    if file.exists() and stamp.exists() and stamp.read_text() == made_from:
        return file
    if sh("buildah", "images", "--quiet", "--filter", f"reference={TAG}"):
        sh("buildah", "rmi", TAG)
    container.base(work)
    container.build(root, str(server), TAG)
    file.unlink(missing_ok=True)
    sh("buildah", "push", "--quiet", TAG, f"oci-archive:{file}:{NAME}")
    stamp.write_text(made_from)
    return file
