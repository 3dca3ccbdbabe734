"""The installed library as a stranger meets it: nothing but the install, plain CMake, and the example.

Installs into a temporary prefix, compiles each installed header alone, builds examples/append_and_read against the
install, runs it on a folder and on an S3 server, and reads its tables with deltalake.

Usage: package_test.py BUILD_FOLDER SOURCE_FOLDER CXX_FLAGS
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

from deltalake import DeltaTable

BUILD, SOURCE = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
CXX_FLAGS = sys.argv[3] if len(sys.argv) > 3 else ""
sys.path.insert(0, str(SOURCE / "tests" / "s3"))
from s3_server import Minio  # noqa: E402

passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def run(*command, code=0, env=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env={**os.environ, **(env or {})})
    assert done.returncode == code, f"{command}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def install(component, prefix):
    run("cmake", "--install", BUILD, "--component", component, "--prefix", prefix)
    return files_below(prefix)


def check_program(prefix):
    claim(install("program", prefix) == ["bin/millrace"], "the program's component", files_below(prefix))
    claim("millrace 0." in run(prefix / "bin" / "millrace", "version"), "and it finds its libraries")


def check_library(prefix):
    files = install("library", prefix)
    claim(not [f for f in files if not f.startswith(("lib", "include/millrace/"))], "archives, headers, CMake files", files)
    archives = {pathlib.Path(f).name for f in files if f.endswith(".a")}
    claim(archives == {f"libmillrace_{name}.a" for name in ("base", "http_client", "objectstore", "delta")}, "the libraries", archives)
    private = [f for f in files if f.endswith("_internal.h") or "/s3/" in f]
    claim(not private, "public headers alone", private)
    cmake = "\n".join(p.read_text() for p in prefix.rglob("*.cmake"))
    claim(str(SOURCE) not in cmake and str(BUILD) not in cmake, "the package names no folder of the build")
    return [f for f in files if f.endswith(".h")]


def configure(project, build, prefix, code=0):
    return run("cmake", "-S", project, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release",
               "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", f"-DCMAKE_CXX_FLAGS={CXX_FLAGS}", code=code)


def check_headers(headers, prefix, build):
    """With the flags that the package gives to its users, and warnings as errors: they will have theirs."""
    command = shlex.split(json.loads((build / "compile_commands.json").read_text())[0]["command"])
    flags = command[1:command.index("-o")]
    ours = flags.index(str(prefix / "include" / "millrace"))
    flags[ours - 1] = "-I"  # As a system header it would be spared the warnings.
    source = build / "one_header.cc"
    for header in headers:
        source.write_text(f'#include "{header.removeprefix("include/millrace/")}"\n')
        run(command[0], *flags, "-O0", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", source)
    claim(len(headers) > 12, "every installed header compiles alone", headers)


def check_versions(prefix, folder):
    """0.x releases may change the interface with each minor version."""
    for wanted, code in (("0.1", 0), ("0.0", 1), ("0.2", 1), ("1", 1)):
        project = folder / f"wants-{wanted}"
        project.mkdir()
        (project / "CMakeLists.txt").write_text(
            f"cmake_minimum_required(VERSION 3.25)\nproject(p LANGUAGES CXX)\nfind_package(Millrace {wanted} REQUIRED)\n")
        output = configure(project, project / "build", prefix, code)
        claim(code == 0 or "0.1.0" in output, f"a program that wants {wanted}", output)


def check_rows(table):
    rows = table.to_pyarrow_table().to_pylist()
    claim(len(rows) == 48, "deltalake reads every row once", len(rows))
    warm = sorted(r["hour"] for r in rows if r["city"] == "Porto" and r["celsius"] > 20)
    claim(warm == [13, 14, 15, 16], "and the same values", warm)
    claim(table.metadata().partition_columns == ["city"], "partitioned", table.metadata())
    operations = [entry["operation"] for entry in table.history()]
    claim(operations == ["WRITE", "WRITE", "CREATE TABLE"], "three commits", operations)


def check_example(program, folder):
    table = folder / "weather"
    first = run(program, table)
    claim("batch 2 appended, the table is at version 2" in first and "22" in first, "the example", first)
    again = run(program, table)
    claim("batch 2 was there already" in again and "version 2" in again, "a second run appends nothing twice", again)
    check_rows(DeltaTable(str(table)))
    wrong = run(program, "gs://bucket/weather", code=1)
    claim("gs" in wrong, "an error names what is wrong", wrong)
    with Minio() as server:
        server.create_bucket("lake")
        environment = server.environment()
        output = run(program, "s3://lake/weather", env=environment)
        claim("batch 2 appended" in output, "the example on S3", output)
        options = {name: value for name, value in environment.items() if value}
        check_rows(DeltaTable("s3://lake/weather", storage_options={**options, "AWS_ALLOW_HTTP": "true"}))


def main():
    with tempfile.TemporaryDirectory(prefix="millrace-package-") as name:
        folder = pathlib.Path(name)
        check_program(folder / "program")
        prefix = folder / "prefix"
        headers = check_library(prefix)
        build = folder / "build"
        configure(SOURCE / "examples" / "append_and_read", build, prefix)
        run("cmake", "--build", build)
        check_example(build / "append_and_read", folder)
        check_headers(headers, prefix, build)
        check_versions(prefix, folder)
    print(f"{passed} passed, 0 failed")


main()
