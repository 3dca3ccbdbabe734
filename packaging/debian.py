"""The Debian package: the distribution's libraries as dependencies, what it does not have below /usr/lib/millrace."""

import gzip
import pathlib
import re
import shutil
import tempfile
import time

import sbom
from libraries import Bundle
from release import Release, run

FOLDER = pathlib.Path(__file__).resolve().parent


def _depends(program: pathlib.Path, libraries: pathlib.Path) -> str:
    """Debian's packages of the libraries that these load, each with the version that has the symbols."""
    with tempfile.TemporaryDirectory() as name:
        (pathlib.Path(name) / "debian").mkdir()
        (pathlib.Path(name) / "debian/control").write_text("Source: millrace\n\nPackage: millrace\nArchitecture: amd64\n")
        answer = run("dpkg-shlibdeps", "-O", "--ignore-missing-info", f"-l{libraries}", program,
                     *sorted(libraries.iterdir()), cwd=name)
    return re.search(r"shlibs:Depends=(.*)", answer)[1]


def _write_gz(path: pathlib.Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _write_doc(release: Release, components: list, document: str, folder: pathlib.Path) -> None:
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(release.epoch))
    maintainer = re.search(r"Maintainer: (.*)", (FOLDER / "debian/control").read_text())[1]
    _write_gz(folder / "changelog.gz", f"millrace ({release.version}) stable; urgency=medium\n\n"
                                       f"  * Release {release.version}.\n\n -- {maintainer}  {date}\n")
    copyright_lines = ["Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/", "Upstream-Name: millrace", "",
                       "Files: *", "Copyright: 2026 The Millrace authors", "License: Apache-2.0",
                       " On Debian systems, the complete text of the Apache License 2.0 is in",
                       " /usr/share/common-licenses/Apache-2.0.", " .",
                       " The package also holds these components; the licence of each is below",
                       " /usr/share/doc/millrace/licenses, and sbom.spdx.json names their sources.", " ."]
    copyright_lines += [f" {c.name} {c.version}: {c.license}" for c in components]
    (folder / "copyright").write_text("\n".join(copyright_lines) + "\n")
    sbom.write_licenses(release, components, folder)
    (folder / "LICENSE").unlink()  # It is Debian's common one.
    (folder / "licenses/millrace.txt").unlink()
    (folder / "sbom.spdx.json").write_text(document)


def write(release: Release, bundle: Bundle, share: pathlib.Path, components: list, document: str, root: pathlib.Path,
          output: pathlib.Path) -> None:
    bundle.lay_out(root / "usr/bin", root / "usr/lib/millrace")
    shutil.copytree(share, root / "usr/share")
    page = root / "usr/share/man/man1/millrace.1"
    _write_gz(page.with_suffix(".1.gz"), page.read_text())
    page.unlink()
    _write_doc(release, components, document, root / "usr/share/doc/millrace")

    units = root / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    shutil.copyfile(FOLDER / "millrace.service", units / "millrace.service")
    (root / "etc/millrace").mkdir(parents=True)
    shutil.copyfile(FOLDER / "pipeline.yaml", root / "etc/millrace/pipeline.yaml")
    (root / "usr/share/lintian/overrides").mkdir(parents=True)
    shutil.copyfile(FOLDER / "debian/lintian-overrides", root / "usr/share/lintian/overrides/millrace")

    depends = _depends(root / "usr/bin/millrace", root / "usr/lib/millrace")
    files = sorted(p for p in root.rglob("*") if p.is_file())
    size = sum(-(-path.stat().st_size // 1024) for path in files)
    control = root / "DEBIAN"
    control.mkdir()
    (control / "control").write_text((FOLDER / "debian/control").read_text().format(
        version=release.version, size=size, depends=depends))
    (control / "conffiles").write_text("/etc/millrace/pipeline.yaml\n")
    sums = [run("md5sum", path.relative_to(root), cwd=root) for path in files if path.relative_to(root).parts[0] != "etc"]
    (control / "md5sums").write_text("".join(sums))
    for script in ("postinst", "prerm", "postrm"):
        shutil.copyfile(FOLDER / "debian" / script, control / script)
        (control / script).chmod(0o755)
    run("dpkg-deb", "--root-owner-group", "-Zxz", "-z6", "--build", root, output,
        env={"SOURCE_DATE_EPOCH": str(release.epoch)})
