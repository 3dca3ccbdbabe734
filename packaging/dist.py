#!/usr/bin/env python3
"""Makes all packages of a built program: a .deb, a tar.zst that runs from any folder, a Python wheel, debug symbols,
an SBOM and SHA256SUMS. The same program and sources give the same bytes, whenever and wherever this runs.

usage: dist.py BUILD_FOLDER OUTPUT_FOLDER

Needs patchelf, zstd, dpkg-dev and binutils. MILLRACE_DEPS names what scripts/setup has filled; SOURCE_DATE_EPOCH is the
time in all packages, unless set that of the last commit.
"""

import hashlib
import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import archive  # noqa: E402
import debian  # noqa: E402
import sbom  # noqa: E402
import wheel  # noqa: E402
from libraries import Bundle  # noqa: E402
from release import Release  # noqa: E402


def make_share(release: Release, folder: pathlib.Path) -> None:
    """What comes with the program in every package: manual, completions, schemas, dashboards, the example."""
    files = {
        "man/man1/millrace.1": release.output("man"),
        "bash-completion/completions/millrace": release.output("completion", "bash"),
        "zsh/vendor-completions/_millrace": release.output("completion", "zsh"),
        "fish/vendor_completions.d/millrace.fish": release.output("completion", "fish"),
        "doc/millrace/examples/pipeline.yaml": (release.source / "packaging/pipeline.yaml").read_text(),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("pipeline.schema.json", "test.schema.json"):
        (folder / "millrace").mkdir(exist_ok=True)
        shutil.copyfile(release.source / "share/millrace" / name, folder / "millrace" / name)
    for name in ("grafana", "prometheus"):
        shutil.copytree(release.source / "share" / name, folder / "millrace" / name)


def make_all(release: Release, work: pathlib.Path, output: pathlib.Path) -> None:
    program, symbols = release.split_program(work)
    share = work / "share"
    make_share(release, share)

    every = Bundle.of(program, release, everything=True)
    ours = Bundle.of(program, release, everything=False)
    components = sbom.components(release, every)
    document = sbom.spdx(release, components)
    (output / f"millrace-{release.version}.spdx.json").write_text(document)

    portable = work / "portable"
    every.lay_out(portable / "bin", portable / "lib/millrace")
    shutil.copytree(share, portable / "share")
    sbom.write_licenses(release, components, portable / "share/doc/millrace")
    (portable / "share/doc/millrace/sbom.spdx.json").write_text(document)
    name = f"millrace-{release.version}-linux-x86_64"
    archive.write_tar_zst(portable, output / f"{name}.tar.zst", prefix=name, epoch=release.epoch)
    archive.write_tar_zst(symbols, output / f"{name}-debug.tar.zst", prefix=f"{name}-debug", epoch=release.epoch)
    wheel.write(release, portable, every.glibc, output)

    bundled = [c for c in components if c.kind != "debian"]
    debian.write(release, ours, share, bundled, sbom.spdx(release, bundled), work / "debian", output)


def write_sums(output: pathlib.Path) -> None:
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
             for path in sorted(output.iterdir()) if path.name != "SHA256SUMS"]
    (output / "SHA256SUMS").write_text("".join(lines))


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for tool, package in (("patchelf", "patchelf"), ("zstd", "zstd"), ("dpkg-shlibdeps", "dpkg-dev"), ("objcopy", "binutils")):
        if shutil.which(tool) is None:
            sys.exit(f"dist: '{tool}' is not installed; it is in Debian's package {package}: scripts/setup dist")
    os.umask(0o022)
    output = pathlib.Path(sys.argv[2]).resolve()
    if output.exists() and not (output / "SHA256SUMS").exists():
        sys.exit(f"dist: {output} is not from an earlier run, and would be replaced; move it away")
    release = Release.of(pathlib.Path(sys.argv[1]).resolve())
    # Beside the output, so that it is replaced at once, and only by something whole.
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".millrace-dist-", dir=output.parent) as name:
        work = pathlib.Path(name)
        (work / "out").mkdir()
        make_all(release, work, work / "out")
        write_sums(work / "out")
        if output.exists():
            shutil.rmtree(output)
        (work / "out").rename(output)
    for path in sorted(output.iterdir()):
        print(f"  {path.stat().st_size / 1e6:7.1f} MB  {path.name}")


if __name__ == "__main__":
    main()
