"""A base of the Dockerfile's kind, made of Debian packages where no registry of images is reached.

What it stands for is python:3.11-slim: Debian 12 with Python 3.11 and pip, and nothing else.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

NAME = "localhost/production-lstm-base"
# The machine's certificates go with it: where a proxy signs with its own, pip has to trust that.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SETUP = """
cd "$1"
ln -s python3.11 usr/bin/python
rm -f usr/lib/python3.11/EXTERNALLY-MANAGED
# pip itself instead of its Debian package, which brings more than pip.
chroot . python -m zipfile -e $(cd "$1" && echo usr/share/python-wheels/pip-*.whl) \\
  usr/local/lib/python3.11/dist-packages
rm -rf usr/share/python-wheels var/cache/apt/*.bin
"""


def base_image(wanted):
    """The image that is wanted where this machine has it, or else one that is made here, once.

    Skips with a reason where neither can be.
    """
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed (Debian: buildah)")
    for image in (wanted, f"docker.io/library/{wanted}", NAME):
        if _buildah("inspect", "--type", "image", image, check=False).returncode == 0:
            return image
    if shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        pytest.skip(
            f"no base image: `buildah pull {wanted}`, or root and mmdebstrap (Debian: mmdebstrap)"
        )
    # Not pytest's folder: a user of another number has to get in.
    with tempfile.TemporaryDirectory(prefix="base-") as folder:
        _make(Path(folder))
    return NAME


def _make(folder):
    (folder / "setup").write_text(f"#!/bin/sh\nset -eu\n{SETUP}")
    (folder / "setup").chmod(0o755)
    tar = folder / "base.tar"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--customize-hook={folder}/setup"]
    command += ["--include=ca-certificates,python3,python3-venv,netbase,tzdata,usr-is-merged"]
    command += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]
    if CERTIFICATES.exists():
        command += [f"--customize-hook=copy-in {CERTIFICATES} {CERTIFICATES.parent}"]
    done = subprocess.run([*command, "bookworm", tar], capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        pytest.skip(f"mmdebstrap makes no base image: {done.stderr.strip()[-500:]}")
    container = _buildah("from", "scratch").stdout.strip()
    try:
        _buildah("add", "--quiet", container, str(tar), "/")
        _buildah("commit", "--quiet", container, NAME)
    finally:
        _buildah("rm", container)


def _buildah(*arguments, check=True):
    return subprocess.run(
        ["buildah", *arguments], check=check, capture_output=True, text=True, timeout=300
    )
