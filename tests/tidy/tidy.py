#!/usr/bin/env python3
"""The house rules that no linter knows, checked over the tracked files.

  edges     an #include "folder/x.h" in src/ is covered by DEPS of that folder's own CMakeLists.txt
  readme    every folder of src/ says why it exists
  markers   no fix-me and the like, no conflict marker; a to-do says what it is and when it matters
  paths     no absolute path of somebody's home folder, and no file that was named by an option somebody mistyped
  length    a source file has at most 1000 lines
  node      what Debian 12's Node (18) lacks: import.meta.dirname and filename
  producers a test's own Kafka producer keeps its order when it asks again
  header    a header starts with a /// comment and has #pragma once
  names     what docs/how-a-batch-flows.md has in code font like Worker::Cut is a name in src/

Prints "file:line: rule: message" for each finding; exit 1 if there is any, 77 outside a git checkout.
"""

import pathlib
import re
import subprocess
import sys

MAX_LINES = 1000
CODE = {".cc", ".h", ".py", ".js", ".mjs", ".ts", ".tsx", ".css", ".html", ".cmake", ".sh"}
CALL = re.compile(r"millrace_add_(module|test|benchmark)\s*\(\s*([\w-]+)([^)]*)\)")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([\w-]+)/[^"]+"')
MARKER = re.compile(r"\b(?:FIX" r"ME|X" r"XX|HA" r"CK)\b|^(?:<{7}|>{7}|={7})(?:\s|$)")
BARE_TODO = re.compile(r"\bTO" r"DO\b(?!: \S)")
HOME = re.compile(r"(?<![\w.~$}])/(?:home/\w|root/|Users/\w)")
TEMPORARY = re.compile(r"\b(TempDir|temp_directory_path)\(\)\)*\s*[/+]")
OWN_NAME = re.compile(r"RandomUuid|XXXXXX|getpid|FreshName")
PRODUCER = re.compile(r"\bProducer\(\{")
ITS_ORDER = re.compile(r"enable\.idempotence|transactional\.id")
NEW_NODE = re.compile(r"\bimport\.meta\.(?:dirname|filename)\b")
FLOW_PAGE = "docs/how-a-batch-flows.md"
CODE_NAME = re.compile(r"`((?:\w+::)*[A-Z]\w*[a-z]\w*)`")
KEYWORDS = {"SOURCES", "DEPS", "LIBS", "PRIVATE_LIBS", "LABELS", "TIMEOUT"}


def without_comments(cmake: str) -> str:
    return re.sub(r"#.*", "", cmake)


def section(arguments: str, keyword: str) -> list[str]:
    """The values after `keyword` in the arguments of a CMake call."""
    values, taking = [], False
    for word in arguments.split():
        if word in KEYWORDS:
            taking = word == keyword
        elif taking:
            values.append(word)
    return values


class Modules:
    """Which folder of src/ each module lives in, and which folders each folder may include."""

    def __init__(self, root: pathlib.Path, files: list[str]):
        self.folder_of: dict[str, str] = {}
        declared: list[tuple[str, str, list[str]]] = []
        for name in files:
            path = pathlib.PurePosixPath(name)
            if path.name != "CMakeLists.txt" or len(path.parts) < 3 or path.parts[0] != "src":
                continue
            for kind, module, arguments in CALL.findall(without_comments((root / name).read_text())):
                if kind == "module":
                    self.folder_of[module] = path.parts[1]
                declared.append((path.parts[1], kind, section(arguments, "DEPS")))
        self.allowed: dict[str, set[str]] = {}
        self.allowed_in_tests: dict[str, set[str]] = {}
        for folder, kind, deps in declared:
            folders = {self.folder_of.get(dep, dep) for dep in deps}
            self.allowed_in_tests.setdefault(folder, {folder}).update(folders)
            if kind == "module":
                self.allowed.setdefault(folder, {folder}).update(folders)

    def folders(self) -> set[str]:
        return set(self.folder_of.values())

    def may_include(self, name: str, other: str) -> bool:
        path = pathlib.PurePosixPath(name)
        table = self.allowed_in_tests if re.search(r"_(test|benchmark)\.cc$|^test_\w+\.(h|cc)$", path.name) else self.allowed
        return other in table.get(path.parts[1], {path.parts[1]})


def check(root: pathlib.Path, files: list[str]) -> list[str]:
    findings = []
    modules = Modules(root, files)
    for folder in sorted({f.split("/")[1] for f in files if f.startswith("src/") and f.count("/") > 1}):
        if f"src/{folder}/README.md" not in files:
            findings.append(f"src/{folder}: readme: there is no README.md that says why this folder exists")
    for name in files:
        if name.startswith("-"):
            findings.append(f"{name}: paths: a program has taken an option for the name of a file or folder")
        path = root / name
        if not path.is_file() or path.is_symlink():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if "/testdata/" in name:
            continue
        lines = text.splitlines()
        suffix = path.suffix
        if suffix in CODE and len(lines) > MAX_LINES:
            findings.append(f"{name}:{len(lines)}: length: {len(lines)} lines; look for the second subject")
        if suffix == ".h":
            if not text.startswith("///"):
                findings.append(f"{name}:1: header: it does not start with a /// comment that says what it is for")
            if "#pragma once" not in lines:
                findings.append(f"{name}:1: header: no #pragma once")
        for number, line in enumerate(lines, 1):
            if MARKER.search(line) or (suffix in CODE and BARE_TODO.search(line)):
                findings.append(f"{name}:{number}: markers: {line.strip()[:80]}")
            if HOME.search(line):
                findings.append(f"{name}:{number}: paths: {line.strip()[:80]}")
            if suffix == ".cc" and TEMPORARY.search(line) and not OWN_NAME.search("".join(lines[number - 1:number + 3])):
                findings.append(f"{name}:{number}: paths: two runs at a time would share this temporary place; name it by RandomUuid()")
            if suffix == ".py" and PRODUCER.search(line) and not ITS_ORDER.search("".join(lines[number - 1:number + 1])):
                findings.append(f"{name}:{number}: producers: without enable.idempotence a retry writes records twice or out of order")
            if suffix in {".js", ".mjs", ".ts"} and NEW_NODE.search(line):
                findings.append(f"{name}:{number}: node: Node 18 has only import.meta.url")
            included = INCLUDE.match(line)
            if included and name.startswith("src/") and name.count("/") > 1:
                other = included.group(1)
                if other in modules.folders() and not modules.may_include(name, other):
                    folder = name.split("/")[1]
                    findings.append(f"{name}:{number}: edges: includes {other}/, which is not in DEPS of src/{folder}")
    return findings


def check_names(root: pathlib.Path, files: list[str]) -> list[str]:
    """Each part of a name must be a word of the code, and a member must stand in a file that speaks of its class."""
    if FLOW_PAGE not in files:
        return []
    words = [set(re.findall(r"\w+", (root / name).read_text(encoding="utf-8")))
             for name in files if name.startswith("src/") and name.endswith((".h", ".cc"))]
    findings = []
    for number, line in enumerate((root / FLOW_PAGE).read_text(encoding="utf-8").splitlines(), 1):
        for name in CODE_NAME.findall(line):
            if not any(set(name.split("::")) <= of_file for of_file in words):
                findings.append(f"{FLOW_PAGE}:{number}: names: there is no {name} in src/")
    return findings


def main() -> int:
    root = pathlib.Path(__file__).resolve().parents[2]
    listed = subprocess.run(["git", "-C", root, "ls-files"], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        print("tidy: skipped, this is not a git checkout")
        return 77
    files = [name for name in listed.stdout.splitlines() if (root / name).exists()]
    findings = check(root, files) + check_names(root, files)
    print("\n".join(findings) if findings else f"tidy: {len(files)} files, nothing to say")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
