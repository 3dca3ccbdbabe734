#!/usr/bin/env python3
"""The editors' schema accepts every configuration that we show, and refuses what the loader refuses by shape.

config_test (C++) checks that loader and schema know the same keys; this checks the schema as an editor uses it.
"""

import copy
import json
import pathlib
import re
import unittest

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Loader(yaml.SafeLoader):
    """YAML as our loader and YAML 1.2 read it: a time is a text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def with_text_keys(value):
    """JSON has no other keys than texts; editors convert likewise."""
    if isinstance(value, dict):
        return {str(key): with_text_keys(item) for key, item in value.items()}
    return [with_text_keys(item) for item in value] if isinstance(value, list) else value


def load(text: str):
    return with_text_keys(yaml.load(text, Loader))


def set_in(document: dict, path: str, value) -> None:
    *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    for key in parents:
        document = document[key]
    document[last] = value


class ConfigSchema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        schema = json.loads((ROOT / "share/millrace/pipeline.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        cls.validator = jsonschema.Draft202012Validator(schema)
        cls.example = load((ROOT / "examples/kafka.yaml").read_text())

    def errors(self, document) -> list[str]:
        return [f"{error.json_path}: {error.message}" for error in self.validator.iter_errors(document)]

    def test_the_examples_match(self):
        for name in ["examples/clicks.yaml", "examples/kafka.yaml", "examples/fleet.yaml", "bench/clicks.yaml"]:
            with self.subTest(name):
                self.assertEqual(self.errors(load((ROOT / name).read_text())), [])

    def test_the_snippets_of_the_reference_match(self):
        snippets = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/configuration.md").read_text(), re.S | re.M)
        self.assertGreater(len(snippets), 10)
        whole = load(snippets[0])
        for snippet in snippets:
            with self.subTest(snippet):
                shown = load(snippet)
                rest = {key: value for key, value in whole.items() if not ("inputs" in shown and key == "decode")}
                self.assertEqual(self.errors(rest | shown), [])

    def test_what_the_loader_refuses_by_shape_is_refused(self):
        cases = [
            ("version", 2),
            ("pipeline", "9lives"),
            ("sorce", {}),
            ("source/embedded", {"path": "./log"}),
            ("source/kafka", {"group.id": "x"}),
            ("source/start", "begin"),
            ("source/start", {"timestamp": "2026-11-01T00:00:00Z", "offsets": {"0": 1}}),
            ("source/start", {"offsets": {"first": 1}}),
            ("source/start", {"offsets": {"first": {"second": 1}}}),
            ("inputs", [{"name": "a", "topics": ["a"], "decode": {"columns": {"x": "int64"}}}]),
            ("source/on_gap", "skip"),
            ("decode/format", "xml"),
            ("decode/schema", {"fle": "a.avsc"}),
            ("decode/schema", {}),
            ("decode/framing", "magic"),
            ("decode/columns", {}),
            ("decode/columns/ts", "timestmp"),
            ("decode/columns/ts", "list<string"),
            ("decode/columns/ts", {"type": "int64", "round": "up"}),
            ("decode/columns/ts", {"type": "timestamp", "pth": "x"}),
            ("tables/0/name", "_delta_log"),
            ("tables/0/commit/interval", "10"),
            ("tables/0/commit/bytes", "1Gb"),
            ("tables/0/metadata", "nope"),
            ("aggregates/0/retention", "a week"),
            ("limits/threads", -1),
            ("log/level", "warning"),
            ("serve/auth", {}),
            ("serve/auth", {"tokens": [{"token": "a"}]}),
            ("serve/auth", {"tokens": [{"token": "a", "scopes": []}]}),
            ("serve/auth", {"tokens": [{"token": "a", "scopes": ["reed"]}]}),
            ("serve/auth", {"tokens": [{"token": "a", "scopes": ["write:"]}]}),
            ("serve/auth", {"jwt": {"issuer": "https://idp.example/"}}),
            ("serve/tls", {"certificate_file": "tls.crt"}),
            ("serve/health", {}),
            ("serve/cors", {"origins": ["https://bi.example/"]}),
            ("serve/limits", {"rate": "100"}),
        ]
        for path, value in cases:
            with self.subTest(f"{path} = {value}"):
                document = copy.deepcopy(self.example)
                document["tables"][0].setdefault("metadata", True)
                set_in(document, path, value)
                self.assertNotEqual(self.errors(document), [])

    def test_what_is_required(self):
        for key in ["version", "pipeline", "source", "decode"]:
            with self.subTest(key):
                self.assertNotEqual(self.errors({k: v for k, v in self.example.items() if k != key}), [])
        neither = {k: v for k, v in self.example.items() if k not in ("tables", "aggregates")}
        self.assertNotEqual(self.errors(neither), [])

    def test_several_inputs_stand_instead_of_the_only_one(self):
        document = load((ROOT / "examples/fleet.yaml").read_text())
        self.assertEqual(self.errors(document), [])
        for path, value in [("inputs", []), ("inputs/0/name", "1a"), ("inputs/0/topic", "a"), ("inputs/1/decode", {}),
                            ("decode", {"columns": {"x": "int64"}}), ("event_time", {"column": "ts"}), ("source/topics", ["a"])]:
            with self.subTest(f"{path} = {value}"):
                changed = copy.deepcopy(document)
                set_in(changed, path, value)
                self.assertNotEqual(self.errors(changed), [])
        for key in ["name", "topics", "decode"]:
            with self.subTest(key):
                changed = copy.deepcopy(document)
                del changed["inputs"][0][key]
                self.assertNotEqual(self.errors(changed), [])

    def test_who_may_ask(self):
        document = copy.deepcopy(self.example)
        document["serve"] = {
            "health": {"listen": "0.0.0.0:9090"},
            "tls": {"certificate_file": "tls.crt", "key_file": "tls.key", "client_ca_file": "ca.crt"},
            "auth": {"tokens": [{"token": "${file:a}", "scopes": ["read", "sql", "write:clicks", "admin"]}, {"token": "b", "scopes": "read"}],
                     "jwt": {"jwks": "https://idp.example/jwks", "issuer": "https://idp.example/", "audience": ["lake"]}},
            "cors": {"origins": ["https://bi.example", "http://[::1]:3000", "*"]},
            "limits": {"rate": "100/s"},
        }
        self.assertEqual(self.errors(document), [])

    def test_variables_may_stand_for_any_value(self):
        for path in ["limits/threads", "limits/memory", "tables/0/commit/interval", "tables/0/name", "log/level"]:
            with self.subTest(path):
                document = copy.deepcopy(self.example)
                set_in(document, path, "${VALUE:-1}")
                self.assertEqual(self.errors(document), [])


class TestFiles(unittest.TestCase):
    """The schema of test files accepts those that we show, and refuses what the loader refuses by shape."""

    @classmethod
    def setUpClass(cls):
        schema = json.loads((ROOT / "share/millrace/test.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        cls.validator = jsonschema.Draft202012Validator(schema)

    def errors(self, document) -> list[str]:
        return [f"{error.json_path}: {error.message}" for error in self.validator.iter_errors(document)]

    def test_the_examples_match(self):
        files = sorted(ROOT.glob("examples/**/*.test.yaml"))
        self.assertGreater(len(files), 1)
        guide = re.search(r"^```yaml\n(.*?)^```$", (ROOT / "docs/testing.md").read_text(), re.S | re.M).group(1)
        for text in [*(file.read_text() for file in files), guide]:
            self.assertEqual(self.errors(load(text)), [])

    def test_each_example_has_a_test_file(self):
        for pipeline in ROOT.glob("examples/**/*.yaml"):
            # Nexmark's are compared with DuckDB as a whole: tests/e2e/nexmark_test.py.
            if not pipeline.name.endswith(".test.yaml") and pipeline.parent.name != "nexmark":
                self.assertTrue(pipeline.with_suffix(".test.yaml").exists(), pipeline)

    def test_mistakes_are_refused(self):
        good = {"pipeline": "p.yaml", "tests": [{"name": "a", "records": [{"value": 1}], "expect": {"tables": {"t": [{}]}}}]}
        self.assertEqual(self.errors(good), [])
        for path, value in [("pipeline", ""), ("test", []), ("tests/0/name", ""), ("tests/0/records/0/topik", "a"),
                            ("tests/0/records/0/value_text", "a"), ("tests/0/records/0/offset", -1),
                            ("tests/0/records/0/partition", "a"), ("tests/0/records", [{}] * 1001), ("tests/0/expect", {}),
                            ("tests/0/expect/table", {}), ("tests/0/expect/error", "a"), ("tests/0/expect/tables/t", {}),
                            ("tests/0/expect/tables/t", {"match": "contain", "rows": []}), ("tests/0/expect/tables/t/0", 1),
                            ("tests/0/expect/dead_letters", [{"stages": "decode"}])]:
            with self.subTest(f"{path} = {value}"):
                document = copy.deepcopy(good)
                set_in(document, path, value)
                self.assertNotEqual(self.errors(document), [])


class PriceSheets(unittest.TestCase):
    """The shipped price sheets, and the snippet of their README, match their schema; broken ones do not."""

    @classmethod
    def setUpClass(cls):
        cls.folder = ROOT / "share/millrace/prices"
        schema = json.loads((cls.folder / "prices.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        cls.validator = jsonschema.Draft202012Validator(schema)

    def errors(self, document) -> list[str]:
        return [f"{error.json_path}: {error.message}" for error in self.validator.iter_errors(document)]

    def test_the_shipped_sheets_match(self):
        sheets = sorted(self.folder.glob("*/*.yaml"))
        self.assertGreater(len(sheets), 3)
        snippet = re.search(r"^```yaml\n(.*?)^```$", (self.folder / "README.md").read_text(), re.S | re.M).group(1)
        for text in [*(sheet.read_text() for sheet in sheets), snippet]:
            self.assertEqual(self.errors(load(text)), [])

    def test_mistakes_are_refused(self):
        one = {"sku": "aws.eks", "region": "us-east-1", "unit": "h", "usd": "0.1", "source": "page"}
        grouped = {"sku": "aws.eks", "unit": "h", "source": "page", "regions": [{"in": ["us-east-1"], "usd": "0.1"}]}
        sheet = {"version": 1, "sheet": "test", "currency": "USD", "prices": [one, grouped]}
        self.assertEqual(self.errors(sheet), [])
        for path, value in [("version", 2), ("currency", "EUR"), ("prices/0/usd", 0.02), ("prices/0/usd", "-1"),
                            ("prices/0/unit", "hour"), ("prices/0/usdd", "1"), ("prices/0/per", 0), ("prices/0/usd", ["1"]),
                            ("prices/1/usd", "1"), ("prices/1/region", "eu-west-1"), ("prices/1/regions", []),
                            ("prices/1/regions/0/in", []), ("prices/1/regions/0/tiers", [{"usd": "1"}]),
                            ("prices/1/regions/0/unit", "h"), ("prices/1/up_to", [0])]:
            with self.subTest(f"{path} = {value}"):
                document = copy.deepcopy(sheet)
                set_in(document, path, value)
                self.assertNotEqual(self.errors(document), [])


if __name__ == "__main__":
    unittest.main()
