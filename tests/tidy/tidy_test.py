#!/usr/bin/env python3
"""Each rule of tidy.py finds what it must and leaves alone what it must not, on small trees made here."""

import pathlib
import tempfile
import unittest

import tidy

MODULE = {
    "src/base/CMakeLists.txt": "millrace_add_module(base SOURCES a.cc)\n",
    "src/base/README.md": "Why.\n",
    "src/base/a.h": "/// A.\n#pragma once\n",
    "src/delta/CMakeLists.txt": "millrace_add_module(delta\n  SOURCES d.cc\n  DEPS base)\n"
    "millrace_add_test(delta_test SOURCES d_test.cc DEPS delta testing)\n",
    "src/delta/README.md": "Why.\n",
    "src/delta/d.cc": '#include "base/a.h"\n#include <vector>\n',
    "src/testing/CMakeLists.txt": "millrace_add_module(testing SOURCES t.cc DEPS base)\n",
    "src/testing/README.md": "Why.\n",
}


class Tidy(unittest.TestCase):
    def findings(self, **changes: str | None) -> list[str]:
        tree = MODULE | {name: text for name, text in changes.items()}
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            files = [name for name, text in tree.items() if text is not None]
            for name in files:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(tree[name])
            return tidy.check(root, files) + tidy.check_names(root, files)

    def assert_finds(self, expected: str, **changes: str | None) -> None:
        findings = self.findings(**changes)
        self.assertEqual(len(findings), 1, findings)
        self.assertIn(expected, findings[0])

    def test_a_clean_tree_has_no_finding(self):
        self.assertEqual(self.findings(), [])

    def test_an_undeclared_edge(self):
        self.assert_finds("src/base/a.cc:1: edges: includes delta/", **{"src/base/a.cc": '#include "delta/d.h"\n'})

    def test_a_test_may_use_what_its_own_deps_name(self):
        self.assertEqual(self.findings(**{"src/delta/d_test.cc": '#include "testing/t.h"\n'}), [])
        self.assert_finds("edges: includes testing/", **{"src/delta/e.cc": '#include "testing/t.h"\n'})

    def test_a_dependency_in_a_comment_does_not_count(self):
        cmake = "millrace_add_module(base SOURCES a.cc)  # DEPS delta\n"
        changes = {"src/base/CMakeLists.txt": cmake, "src/base/a.cc": '#include "delta/d.h"\n'}
        self.assert_finds("edges", **changes)

    def test_a_folder_without_a_readme(self):
        self.assert_finds("src/delta: readme", **{"src/delta/README.md": None})

    def test_a_name_of_the_flow_page_that_is_gone(self):
        page = "docs/how-a-batch-flows.md"
        self.assertEqual(self.findings(**{page: "`base::Loop` and `max_future`\n", "src/base/a.cc": "base::Loop x;\n"}), [])
        self.assert_finds(f"{page}:2: names: there is no base::Loop", **{page: "\nSee `base::Loop`.\n"})

    def test_markers(self):
        self.assert_finds("markers", **{"src/base/a.cc": "// FIX" "ME later\n"})
        self.assert_finds("markers", **{"docs/a.md": "<" * 7 + " HEAD\n"})
        self.assert_finds("markers", **{"src/base/a.cc": "// TO" "DO\n"})
        self.assertEqual(self.findings(**{"src/base/a.cc": "// TO" "DO: drop this when Arrow 26 is out.\n"}), [])

    def test_a_folder_that_should_have_been_an_option(self):
        self.assert_finds("--help/LOG: paths", **{"--help/LOG": ""})

    def test_a_temporary_place_that_two_runs_would_share(self):
        self.assert_finds("src/base/a.cc:1: paths: two runs", **{"src/base/a.cc": 'auto folder = fs::path(TempDir()) / "log";\n'})
        self.assertEqual(self.findings(**{"src/base/a.cc": 'auto folder =\n    temp_directory_path() /\n    ("log" + RandomUuid());\n'}), [])

    def test_a_producer_whose_retries_change_the_order(self):
        self.assert_finds("tests/a.py:1: producers", **{"tests/a.py": 'p = Producer({"bootstrap.servers": b,\n"linger.ms": 0})\n'})
        self.assertEqual(self.findings(**{"tests/a.py": 'p = Producer({\n"enable.idempotence": True})\n'}), [])

    def test_what_the_oldest_node_lacks(self):
        self.assert_finds("tests/a.mjs:2: node", **{"tests/a.mjs": "import.meta.url;\nconst here = import.meta.dirname;\n"})

    def test_home_paths(self):
        self.assert_finds("paths", **{"docs/a.md": "cd /ho" "me/ann/millrace\n"})
        self.assertEqual(self.findings(**{"docs/a.md": "see https://example.org/root/x and ~/.cache\n"}), [])

    def test_long_files(self):
        self.assert_finds("length", **{"src/base/a.cc": "int a;\n" * 1001})
        self.assertEqual(self.findings(**{"src/base/a.cc": "int a;\n" * 1000}), [])

    def test_headers(self):
        self.assert_finds("#pragma once", **{"src/base/a.h": "/// A.\n"})
        self.assert_finds("/// comment", **{"src/base/a.h": "#pragma once\n"})


if __name__ == "__main__":
    unittest.main()
