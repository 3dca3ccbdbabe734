"""The shared libraries that a package brings along, and how the program finds them: relative to itself."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shutil

from release import Release, run

# Always the system's: the C library, whose parts belong together and to the kernel's loader.
GLIBC = {"ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1",
         "libresolv.so.2", "libutil.so.1", "libanl.so.1"}


def needed(path: pathlib.Path) -> list[str]:
    return re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "-d", path))


def loaded(program: pathlib.Path) -> dict[str, pathlib.Path]:
    """Every library that the program loads, and theirs, as the loader finds them for the build."""
    found = {}
    for line in run("ldd", program).splitlines():
        match = re.match(r"\s*(\S+) => (\S+|not found)", line)
        if match is None or match[1] in GLIBC:
            continue
        if match[2] == "not found":
            raise SystemExit(f"dist: {program} needs {match[1]}, which is not found")
        found[match[1]] = pathlib.Path(match[2])
    return found


@dataclasses.dataclass(frozen=True)
class Bundle:
    program: pathlib.Path
    libraries: dict[str, pathlib.Path]  # By the name that the loader asks for.
    glibc: tuple[int, int]              # The oldest C library that has all that these ask of it.

    @staticmethod
    def of(program: pathlib.Path, release: Release, everything: bool) -> Bundle:
        """`everything`: all but the C library; else what scripts/setup has brought, which no distribution has."""
        libraries = {name: path for name, path in loaded(program).items()
                     if everything or path.is_relative_to(release.deps.resolve()) or path.is_relative_to(release.deps)}
        versions = {(int(major), int(minor)) for path in [program, *libraries.values()]
                    for major, minor in re.findall(r"Name: GLIBC_(\d+)\.(\d+)", run("readelf", "-V", path))}
        return Bundle(program, dict(sorted(libraries.items())), max(versions))

    def lay_out(self, bin_folder: pathlib.Path, lib_folder: pathlib.Path) -> None:
        """The program and its libraries into these folders, which must stay beside each other as they are."""
        bin_folder.mkdir(parents=True)
        lib_folder.mkdir(parents=True)
        program = bin_folder / "millrace"
        shutil.copyfile(self.program, program)
        program.chmod(0o755)
        to_libraries = pathlib.PurePath("..") / lib_folder.relative_to(bin_folder.parent)
        run("patchelf", "--set-rpath", f"$ORIGIN/{to_libraries}", program)
        for name, path in self.libraries.items():
            copy = lib_folder / name
            run("strip", "--strip-unneeded", "-o", copy, path.resolve())
            copy.chmod(0o644)
            run("patchelf", "--set-rpath", "$ORIGIN", copy)
