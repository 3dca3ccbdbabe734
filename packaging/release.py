"""What is packaged: the program of a build, its version, its time and the folders that it comes from."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess


def run(*command, cwd=None, env=None) -> str:
    """Standard output of a command that must succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"dist: {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Release:
    source: pathlib.Path
    deps: pathlib.Path     # What scripts/setup has filled.
    program: pathlib.Path  # As the build left it, with its symbols.
    version: str           # "0.1.0"
    epoch: int             # Seconds since 1970: the time of every file.

    @staticmethod
    def of(build: pathlib.Path) -> Release:
        source = pathlib.Path(__file__).resolve().parents[1]
        program = build / "bin" / "millrace"
        if not program.exists():
            raise SystemExit(f"dist: {program} is not there; build it first: make build")
        deps = pathlib.Path(os.environ.get("MILLRACE_DEPS") or pathlib.Path.home() / ".cache/millrace/deps")
        version = re.search(r"project\(millrace VERSION ([0-9.]+)", (source / "CMakeLists.txt").read_text())[1]
        epoch = os.environ.get("SOURCE_DATE_EPOCH") or run("git", "-C", source, "log", "-1", "--format=%ct")
        return Release(source, deps, program, version, int(epoch))

    def output(self, *arguments: str) -> str:
        return run(self.program, *arguments)

    def split_program(self, work: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
        """The program without symbols, and a folder with them where gdb looks for them, by build id."""
        stripped = work / "stripped" / "millrace"
        stripped.parent.mkdir()
        run("strip", "--strip-all", "-o", stripped, self.program)
        build_id = re.search(r"Build ID: ([0-9a-f]+)", run("readelf", "-n", self.program))[1]
        symbols = work / "symbols"
        debug = symbols / "lib/debug/.build-id" / build_id[:2] / f"{build_id[2:]}.debug"
        debug.parent.mkdir(parents=True)
        run("objcopy", "--only-keep-debug", "--compress-debug-sections", self.program, debug)
        debug.chmod(0o644)
        return stripped, symbols
