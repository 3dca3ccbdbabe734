"""What is in the packages that is not ours: each component's version, licence and source, as SPDX and as licence files.

A library whose licence packaging/components.json does not name is an error: nothing is shipped that nobody looked at.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import time

from libraries import Bundle
from release import Release, run


@dataclasses.dataclass(frozen=True)
class Component:
    name: str
    version: str
    license: str
    kind: str     # debian: a shared library of Debian's; else compiled in, or a library that scripts/setup brings.
    source: str   # Where its source is.
    purl: str
    texts: tuple[pathlib.Path, ...]  # Its licence.


def _owner(path: pathlib.Path) -> str:
    """The Debian package of a library; its database knows /lib and /usr/lib by the name that the package used."""
    real = path.resolve()
    for name in (real, pathlib.Path("/", *real.parts[2:])):
        done = subprocess.run(["dpkg", "-S", str(name)], capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.split(": ")[0].split(",")[0]
    raise SystemExit(f"dist: no Debian package has {path}, and it is not from scripts/setup")


def _debian(package: str, kind: str, licenses: dict[str, str], source_name: str = "") -> Component:
    source, version = run("dpkg-query", "-W", "-f=${source:Package} ${source:Version}", package).split()
    name = source_name or source
    if name not in licenses:
        raise SystemExit(f"dist: packaging/components.json names no licence of {name}, which {package} is made from")
    copyright_file = pathlib.Path("/usr/share/doc") / package.split(":")[0] / "copyright"
    return Component(source, version, licenses[name], kind, f"https://snapshot.debian.org/package/{source}/{version}/",
                     f"pkg:deb/debian/{source}@{version}?arch=source", (copyright_file.resolve(),))


def _setup_versions(source: pathlib.Path) -> dict[str, str]:
    setup = (source / "scripts/setup").read_text()
    pinned = {name: re.search(rf"^{key}_version=(\S+)", setup, re.M)[1]
              for name, key in (("duckdb", "duckdb"), ("librdkafka", "librdkafka"), ("datasketches-cpp", "datasketches"))}
    pinned["arrow"] = re.search(r"^pyarrow==(\S+)", (source / "scripts/requirements.txt").read_text(), re.M)[1]
    return pinned


def _setup_texts(name: str, release: Release) -> tuple[pathlib.Path, ...]:
    deps = release.deps
    found = {
        "arrow": sorted(deps.glob("venv/lib/python3*/site-packages/pyarrow-*.dist-info/licenses/*.txt")),
        "duckdb": [release.source / "packaging/licenses/duckdb.txt"],
        "librdkafka": [deps / "librdkafka/LICENSES.txt"],
        "datasketches-cpp": [deps / "datasketches/LICENSE", deps / "datasketches/NOTICE"],
    }[name]
    if not found:
        raise SystemExit(f"dist: {name}: its licence is not in {deps}")
    return tuple(found)


def _dashboard(release: Release) -> list[Component]:
    """What the page is bundled of: all but what builds it."""
    lock = json.loads((release.source / "src/dashboard/package-lock.json").read_text())
    found = []
    for path, package in sorted(lock["packages"].items()):
        name = path.removeprefix("node_modules/")
        if not path or package.get("dev") or package.get("optional") or name == "esbuild":
            continue
        texts = tuple(sorted((release.deps / "dashboard" / path).glob("LICENSE*")))
        found.append(Component(name, package["version"], package["license"], "npm",
                               f"https://www.npmjs.com/package/{name}/v/{package['version']}",
                               f"pkg:npm/{name.replace('@', '%40')}@{package['version']}", texts))
    return found


def components(release: Release, bundle: Bundle) -> list[Component]:
    known = json.loads((release.source / "packaging/components.json").read_text())
    versions = _setup_versions(release.source)
    prefixes = tuple(prefix for entry in known["setup"].values() for prefix in entry.get("libraries", []))
    packages = {_owner(path) for name, path in bundle.libraries.items() if not name.startswith(prefixes)}
    found = {_debian(package, "debian", known["debian"]) for package in packages}
    # Several packages of one source are one component, with the licence of one of them.
    by_source = {component.name: component for component in sorted(found, key=lambda c: str(c.texts))}
    result = list(by_source.values())
    for name, entry in known["headers"].items():
        result.append(_debian(entry["package"], "headers", {name: entry["license"]}, name))
    for name, entry in known["setup"].items():
        texts = _setup_texts(name, release)
        result.append(Component(name, versions[name], entry["license"], "setup", entry["source"],
                                f"pkg:github/{entry['source'].removeprefix('https://github.com/')}@{versions[name]}", texts))
    return sorted(result + _dashboard(release), key=lambda c: (c.kind, c.name))


def spdx(release: Release, found: list[Component]) -> str:
    """The document as SPDX 2.3 JSON. Its namespace is made from what it says, so that the same is named alike."""
    def identifier(component: Component) -> str:
        return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{component.kind}-{component.name}")

    def package(spdx_id: str, name: str, version: str, license_id: str, source: str, purl: str) -> dict:
        return {"SPDXID": spdx_id, "name": name, "versionInfo": version, "downloadLocation": source,
                "filesAnalyzed": False, "licenseConcluded": license_id, "licenseDeclared": license_id,
                "copyrightText": "NOASSERTION",
                "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}]}

    packages = [package("SPDXRef-millrace", "millrace", release.version, "Apache-2.0", "NOASSERTION",
                        f"pkg:generic/millrace@{release.version}")]
    packages += [package(identifier(c), c.name, c.version, c.license, c.source, c.purl) for c in found]
    relationships = [{"spdxElementId": "SPDXRef-DOCUMENT", "relatedSpdxElement": "SPDXRef-millrace", "relationshipType": "DESCRIBES"}]
    relationships += [{"spdxElementId": "SPDXRef-millrace", "relatedSpdxElement": identifier(c), "relationshipType": "CONTAINS"}
                      for c in found]
    digest = hashlib.sha256(json.dumps(packages).encode()).hexdigest()
    return json.dumps({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"millrace-{release.version}",
        "documentNamespace": f"https://spdx.org/spdxdocs/millrace-{release.version}-{digest[:32]}",
        "creationInfo": {"created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(release.epoch)),
                         "creators": [f"Tool: millrace-dist-{release.version}"]},
        "packages": packages, "relationships": relationships}, indent=1) + "\n"


def write_licenses(release: Release, found: list[Component], folder: pathlib.Path) -> None:
    """LICENSE, and below licenses/ the texts of each component."""
    (folder / "licenses").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(release.source / "LICENSE", folder / "LICENSE")
    shutil.copyfile(release.source / "LICENSE", folder / "licenses" / "millrace.txt")
    for component in found:
        if not component.texts:
            raise SystemExit(f"dist: {component.name}: no text of its licence was found")
        text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in component.texts)
        (folder / "licenses" / (component.name.replace("/", "-").lstrip("@") + ".txt")).write_text(text)
