#!/usr/bin/env python3
"""What a release leaves behind, as VERSION.tar.xz beside this file: make_fixture.py PATH_OF_millrace PATH_OF_append_records

To be run once with the program of each release, before it is out, and committed. The archive has the pipeline's file, its lake, its
embedded log, whose last records the pipeline has not read, and its folder of local state.
"""
import io
import pathlib
import sys
import tarfile
import tempfile

import pipeline_of_all as of_all

HERE = pathlib.Path(__file__).resolve().parent


def main(binary, append_records):
    with tempfile.TemporaryDirectory(prefix="millrace-upgrade-") as folder:
        version = of_all.run(binary, folder, "version").stdout.split()[1]
        of_all.write_pipeline(folder)
        for stage in (0, 1):
            of_all.append(append_records, folder, stage)
            of_all.run(binary, folder, "run", "-c", "p.yaml", "--until-end")
            # Both kinds of what a log is read from: checkpoints, and commits after them.
            if stage == 0:
                for table in ("clicks", "minutes"):
                    of_all.run(binary, folder, "lake", "checkpoint", f"lake/{table}")
        of_all.append(append_records, folder, 2)
        out = HERE / f"{version}.tar.xz"
        with tarfile.open(out, "w:xz", preset=9) as archive:
            for path in sorted(pathlib.Path(folder).rglob("*")):
                # RocksDB's own notes, and what only says that somebody has a folder open.
                if path.name.startswith("LOG") or path.name in ("LOCK", "lock", "millrace.lock"):
                    continue
                info = archive.gettarinfo(path, path.relative_to(folder))
                info.uid = info.gid = 0
                info.uname = info.gname = ""
                with open(path, "rb") if path.is_file() else io.BytesIO() as content:
                    archive.addfile(info, content if path.is_file() else None)
        print(f"{out.name}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
