"""The Python wheel: the portable tree, which pip lays into an environment's bin/, lib/ and share/."""

import base64
import hashlib
import pathlib
import time
import zipfile

from release import Release

METADATA = """Metadata-Version: 2.4
Name: millrace
Version: {version}
Summary: Events from a durable log into Delta Lake tables, exactly once
License-Expression: Apache-2.0
Requires-Python: >=3.8
Classifier: Operating System :: POSIX :: Linux
Classifier: Topic :: Database
Description-Content-Type: text/markdown

The command `millrace`, with every library that it needs but the C library. It has no Python modules:

    pip install millrace
    millrace demo
"""


def write(release: Release, portable: pathlib.Path, glibc: tuple[int, int], output: pathlib.Path) -> None:
    tag = f"py3-none-manylinux_{glibc[0]}_{glibc[1]}_x86_64"
    info = f"millrace-{release.version}.dist-info"
    data = f"millrace-{release.version}.data"
    files: dict[str, tuple[bytes, int]] = {
        f"{info}/METADATA": (METADATA.format(version=release.version).encode(), 0o644),
        f"{info}/WHEEL": (f"Wheel-Version: 1.0\nGenerator: millrace-dist\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(), 0o644),
    }
    for path in sorted(p for p in portable.rglob("*") if p.is_file()):
        name = path.relative_to(portable)
        content = (path.read_bytes(), path.stat().st_mode & 0o777)
        if name.parts[0] == "bin":
            files[f"{data}/scripts/{name.name}"] = content
        elif name.is_relative_to("share/doc/millrace/licenses"):
            files[f"{info}/licenses/{name.relative_to('share/doc/millrace/licenses')}"] = content
        elif name.name == "sbom.spdx.json":
            files[f"{info}/sboms/{name.name}"] = content
        else:
            files[f"{data}/data/{name}"] = content

    record = ""
    for name, (content, _) in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
    files[f"{info}/RECORD"] = (f"{record}{info}/RECORD,,\n".encode(), 0o644)

    when = time.gmtime(max(release.epoch, 315532800))[:6]  # Zip begins in 1980.
    with zipfile.ZipFile(output / f"millrace-{release.version}-{tag}.whl", "w") as archive:
        for name, (content, mode) in files.items():
            entry = zipfile.ZipInfo(name, date_time=when)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, so that the mode counts.
            archive.writestr(entry, content, compresslevel=6)
