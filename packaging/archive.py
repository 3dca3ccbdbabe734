"""Archives that depend on nothing but the files in them: sorted, with one time and no owner."""

import pathlib
import subprocess
import tarfile


def write_tar_zst(folder: pathlib.Path, path: pathlib.Path, prefix: str, epoch: int) -> None:
    """All below `folder` as `prefix`/... in a tar of zstd."""
    # The result of -T0 is the same with any number of threads, but not that of --single-thread.
    zstd = subprocess.Popen(["zstd", "-q", "-12", "-T0", "-o", str(path)], stdin=subprocess.PIPE)
    with tarfile.open(fileobj=zstd.stdin, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for member in [folder, *sorted(folder.rglob("*"))]:
            info = tar.gettarinfo(member, arcname=str(pathlib.PurePath(prefix) / member.relative_to(folder)))
            info.mtime, info.uid, info.gid, info.uname, info.gname = epoch, 0, 0, "root", "root"
            if member.is_file():
                with member.open("rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
    zstd.stdin.close()
    if zstd.wait() != 0:
        raise SystemExit(f"dist: zstd could not write {path}")
