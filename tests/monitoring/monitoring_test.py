#!/usr/bin/env python3
"""Goal: what share/ has for Prometheus and Grafana fits what the program says. A real Prometheus scrapes a running demo, loads
the alerts and is asked every expression of the dashboards; questions for the Infinity data source are asked as it would.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from ports import free_port  # noqa: E402

BINARY = sys.argv.pop(1)
SHARE = pathlib.Path(__file__).resolve().parents[2] / "share"
RULES = SHARE / "prometheus" / "millrace.rules.yaml"
DASHBOARDS = sorted((SHARE / "grafana" / "dashboards").glob("*.json"))
# Only there once something of the kind has happened.
ABSENT_IN_A_DEMO = {"millrace_dead_letters_total", "millrace_deduplicated_total", "millrace_lookup_age_seconds",
                    "millrace_maintenance_failures_total", "millrace_maintenance_runs_total"}


def get(url):
    with urllib.request.urlopen(url, timeout=60) as reply:
        return json.load(reply)


def panels():
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield path.name, panel["title"], target


class Monitoring(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-monitoring-"))
        cls.port, cls.prometheus_port = free_port(), free_port()
        cls.processes = []
        cls.start("demo", [BINARY, "demo", "--rate", "500", "--port", str(cls.port), "--dir", "demo"])
        (cls.folder / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: ["{RULES}"]
scrape_configs:
  - job_name: millrace
    static_configs: [{{targets: ["127.0.0.1:{cls.port}"]}}]
""")
        cls.start("prometheus", ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                                 f"--web.listen-address=127.0.0.1:{cls.prometheus_port}"])
        cls.wait(lambda: cls.query('up{job="millrace"}')[0]["value"][1] == "1", "Prometheus has scraped the demo")
        cls.wait(lambda: float(cls.query("sum(millrace_commit_duration_seconds_count)")[0]["value"][1]) > 0, "a commit is counted")
        get(f"http://127.0.0.1:{cls.port}/v1/aggregates/clicks_1m")
        cls.wait(lambda: cls.query("rate(millrace_query_duration_seconds_count[5s])"), "there are two scrapes, with a question")

    @classmethod
    def start(cls, name, command):
        with open(cls.folder / f"{name}.log", "wb") as log:
            cls.processes.append(subprocess.Popen(command, cwd=cls.folder, stdout=log, stderr=log))

    @classmethod
    def tearDownClass(cls):
        for process in cls.processes:
            process.terminate()
        for process in cls.processes:
            process.wait(120)
        shutil.rmtree(cls.folder)

    @classmethod
    def wait(cls, condition, what):
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except (OSError, IndexError):
                pass
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within three minutes\n" + "".join(
            path.read_text()[-2000:] for path in cls.folder.glob("*.log")))

    @classmethod
    def query(cls, expression):
        reply = get(f"http://127.0.0.1:{cls.prometheus_port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        assert reply["status"] == "success", reply
        return reply["data"]["result"]

    def test_rules_are_as_their_tests_say(self):
        for command in (["check", "rules", RULES.name], ["test", "rules", "millrace.rules.test.yaml"]):
            done = subprocess.run(["promtool", *command], cwd=RULES.parent, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_alerts_of_a_demo_that_is_well_are_silent(self):
        rules = [rule for group in get(f"http://127.0.0.1:{self.prometheus_port}/api/v1/rules")["data"]["groups"]
                 for rule in group["rules"]]
        self.assertEqual(len(rules), len(yaml.safe_load(RULES.read_text())["groups"][0]["rules"]))
        for rule in rules:
            self.wait(lambda: self.health(rule["name"]) == "ok", f"{rule['name']} is evaluated")
            self.assertNotEqual(self.alert(rule["name"])["state"], "firing", rule["name"])

    def alert(self, name):
        return next(rule for group in get(f"http://127.0.0.1:{self.prometheus_port}/api/v1/rules")["data"]["groups"]
                    for rule in group["rules"] if rule["name"] == name)

    def health(self, name):
        return self.alert(name)["health"]

    def test_every_metric_that_is_named_is_there(self):
        def there():
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as reply:
                return set(re.findall(r"^([a-z_]+)", reply.read().decode(), re.M))
        expressions = [rule["expr"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]
        expressions += [target["expr"] for _, _, target in panels() if "expr" in target]
        named = {name for expression in expressions for name in re.findall(r"\b(?:millrace|process)_[a-z_]+\b", expression)}
        self.assertGreater(len(named), 20)
        self.wait(lambda: not named - there() - ABSENT_IN_A_DEMO, f"each of {named} is there")

    def test_panels_of_operations_have_figures(self):
        asked = 0
        for dashboard, title, target in panels():
            if "expr" not in target:
                continue
            # The demo is younger than these ranges are meant for.
            expression = re.sub(r"\[\d+[smh]\]", "[5s]", target["expr"].replace("$instance", ".*"))
            asked += 1
            if any(name in expression for name in ABSENT_IN_A_DEMO):
                self.query(expression)
            else:
                self.wait(lambda: self.query(expression), f"{dashboard}, {title}: something for {expression}")
        self.assertGreater(asked, 20)

    def test_questions_of_panels_are_answered_with_their_columns(self):
        asked = 0
        now = int(time.time() * 1000)
        variables = {"${url}": f"http://127.0.0.1:{self.port}", "${__from}": str(now - 900_000), "${__to}": str(now + 60_000)}
        for dashboard, title, target in panels():
            if "url" not in target:
                continue
            def filled(text):
                for name, value in variables.items():
                    text = text.replace(name, value)
                return text
            parameters = [(parameter["key"], filled(parameter["value"])) for parameter in target["url_options"]["params"]]
            rows = get(f"{filled(target['url'])}?{urllib.parse.urlencode(parameters)}")[target["root_selector"]]
            self.assertTrue(rows, f"{dashboard}, {title}: no rows")
            for column in target["columns"]:
                self.assertIn(column["selector"], rows[0], f"{dashboard}, {title}")
            asked += 1
        self.assertGreater(asked, 2)


if __name__ == "__main__":
    unittest.main()
