"""Goal: a user is told in time. What `run` would refuse, `validate` finds, in the same words, with exit code 78; and then nothing
has been made: no folder, no table, no log. The help shows what works, of every command. What the records do not have is said once.
"""
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

from product import BINARY, FOLDER, PIPELINE, claim, end, free_port, millrace

KAFKA = "kafka: {bootstrap.servers: 'localhost:1', "


def refused_by_both():
    """(a piece of PIPELINE, what stands there instead, what is said)"""
    source = "embedded: {path: log, partitions: 4}"
    table = "- name: clicks"
    cases = [
        (source, KAFKA + "bootstrap.serverz: x}", "did you mean 'bootstrap.servers'?"),
        (source, KAFKA + "session.timeout.ms: abc}", '"session.timeout.ms": \'abc\''),
        (source, KAFKA + "security.protocol: sasl_ssl, sasl.username: u, sasl.password: p}", "sasl.mechanism is not set"),
        (source, KAFKA + "security.protocol: ssl, ssl.ca.location: /nowhere/ca.pem}", "cannot read '/nowhere/ca.pem': No such file"),
        (source, KAFKA + "max.poll.interval.ms: 10}", "max.poll.interval.ms"),
        (source, "embedded: {path: lake/clicks/log}", "are in one folder"),
        (table, table + "\n    properties: {delta.checkpointInterval: 0}", "delta.checkpointInterval = '0'"),
        (table, table + "\n    properties: {delta.enableDeletionVectors: true}", "delta.enableDeletionVectors = true"),
        (table, table + "\n    commit: {interval: 0}", "must be at least 1ms, not 0"),
        ("country: string", "country: string, c: {type: string, path: country.code}", "goes through the field country"),
        ("topics: [clicks]", "topics: [clicks]\n  start: {offsets: {7: 1}}", "there is no partition 7"),
        ("lake: {uri: lake}", "lake: {uri: lake}\nserve: {listen: 'localhost:0'}", "'localhost' is not an IP address"),
        ("lake: {uri: lake}", "lake: {uri: lake}\ntransforms: [{name: t, sql: SELECT contry FROM input}]", '"contry" not found'),
    ]
    for piece, replacement, said in cases:
        assert piece in PIPELINE
        (FOLDER / "p.yaml").write_text(PIPELINE.replace(piece, replacement))
        found = millrace("validate", "p.yaml", code=78)
        claim(said in found.stderr and found.stdout == "", f"validate: {replacement}", found.stderr)
        run = millrace("run", "-c", "p.yaml", "--until-end", code=78)
        claim(run.stderr == found.stderr and run.stdout == "", f"run says the same: {replacement}", run.stderr)
        claim([path.name for path in FOLDER.iterdir()] == ["p.yaml"], f"nothing is made: {replacement}", list(FOLDER.iterdir()))
    (FOLDER / "p.yaml").unlink()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        claim("; --port gives another address" in millrace("demo", "--dir", "d", "--port", port, code=1).stderr, "the demo names its own option")
        shutil.rmtree(FOLDER / "d")
    millrace("demo", "--dir", 'a"b', code=78)
    claim(list(FOLDER.iterdir()) == [], "the demo makes nothing either")


def nothing_is_made_before_all_is_checked():
    """What only the outside can tell, and so `validate` does not: a port, a topic, a log, a folder."""
    def refused(what, said, code, before=(), arguments=("--until-end",), **replaced):
        text = PIPELINE
        for piece, replacement in replaced.values():
            assert piece in text
            text = text.replace(piece, replacement)
        (FOLDER / "p.yaml").write_text(text)
        run = millrace("run", "-c", "p.yaml", *arguments, code=code)
        claim(said in run.stderr, f"run names {what}", run.stderr)
        made = sorted(path.name for path in FOLDER.iterdir())
        claim(made == sorted(["p.yaml", *before]), f"nothing is made: {what}", made)

    source = "embedded: {path: log, partitions: 4}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        serve = ("log: {level: warn}", f"log: {{level: warn}}\nserve: {{listen: '127.0.0.1:{port}'}}")
        for arguments in ((), ("--until-end", "--role", "all")):
            refused("a port in use", f"127.0.0.1:{port}", 1, arguments=arguments, serve=serve)
        (FOLDER / "p.yaml").write_text(PIPELINE.replace(*serve))
        millrace("run", "-c", "p.yaml", "--until-end")
        claim((FOLDER / "lake/clicks/_delta_log").is_dir(), "what runs to the end and then ends serves nobody, and needs no port")
        for made in ("lake", "log"):
            shutil.rmtree(FOLDER / made)
    refused("an unknown topic", "topic clicks does not exist", 1, source=(source, "kafka: {bootstrap.servers: mock, test.mock.num.brokers: 1}"))
    refused("a lake that cannot be made", "p.yaml is not a folder", 78, lake=("{uri: lake}", "{uri: p.yaml/lake}"))
    millrace("simulate", "clickstream", "--count", "1", "--rate", "0", "--to", "embedded:log/clicks")
    refused("a log with more partitions", "cannot shrink to 2", 78, before=["log"],
            source=(source, "embedded: {path: log, partitions: 2}"))
    for place in ("embedded:./log", "embedded:./other", "embedded:../log", f"embedded:{FOLDER}/log"):
        said = millrace("simulate", "clickstream", "--count", "1", "--to", place, code=2).stderr
        claim("the topic is missing" in said and f"expected {place}/TOPIC" in said, f"simulate --to {place}", said)
    claim(sorted(path.name for path in FOLDER.iterdir()) == ["log", "p.yaml"], "simulate makes no log elsewhere", list(FOLDER.iterdir()))
    shutil.rmtree(FOLDER / "log")


def topics_that_nobody_reads():
    """Somebody else may: a word, and no refusal."""
    (FOLDER / "p.yaml").write_text(PIPELINE + "serve: {listen: '127.0.0.1:0'}\ngateway: {http: {topics: {clicks: {}, klicks: {}}}}\n")
    said = millrace("validate", "p.yaml").stderr
    claim(said == "p.yaml: warning: gateway: no input of this pipeline reads the topic klicks; what comes in stays in the log "
          "alone\np.yaml: ok\n", "validate says which", said)
    with open(FOLDER / "said", "w") as log, subprocess.Popen([BINARY, "gateway", "-c", "p.yaml"], cwd=FOLDER, stderr=log) as process:
        deadline = time.monotonic() + 180
        while "no input of this pipeline reads the topic klicks" not in (FOLDER / "said").read_text():
            claim(process.poll() is None and time.monotonic() < deadline, "and so does a start", (FOLDER / "said").read_text())
            time.sleep(0.05)
        process.kill()
    claim("topic clicks;" not in (FOLDER / "said").read_text(), "of no other")
    for made in ("log", "gateway-state"):
        shutil.rmtree(FOLDER / made)


def while_it_starts():
    """The port is there at once; until the broker has answered, or has not in time, requests are told so."""
    port, broker = free_port(), free_port()
    (FOLDER / "p.yaml").write_text(PIPELINE.replace("embedded: {path: log, partitions: 4}",
                                                    f"kafka: {{bootstrap.servers: '127.0.0.1:{broker}'}}") +
                                   f"serve: {{listen: '127.0.0.1:{port}'}}\n")
    with subprocess.Popen([BINARY, "run", "-c", "p.yaml"], cwd=FOLDER, stderr=subprocess.DEVNULL) as process:
        def ask(target):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{target}", timeout=60) as answer:
                    return answer.status, ""
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)["code"]
            except OSError:
                return None, "nobody listens"

        answers, alive = [], []
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and (not answers or answers[-1][0] != 200):
            answers.append(ask("/v1/tables"))
            alive.append(ask("/livez"))
            time.sleep(0.05)
        process.kill()
    answers = [answer for answer in answers if answer[0]]
    claim(answers[0] == (503, "starting") and answers[-1] == (200, ""), "first 503, then 200", answers)
    claim({status for status, _ in alive} <= {None, 200} and alive[-1][0] == 200, "and alive all the time", alive)
    shutil.rmtree(FOLDER / "lake")


def one_field_in_two_columns():
    (FOLDER / "p.yaml").write_text(PIPELINE.replace("ts: timestamp", "ts: timestamp, ts_raw: {type: string, path: ts}"))
    millrace("validate", "p.yaml")
    millrace("simulate", "clickstream", "--count", "10", "--rate", "0", "--to", "embedded:log/clicks")
    millrace("run", "-c", "p.yaml", "--until-end")
    row = json.loads(millrace("lake", "read", "lake/clicks", "--columns", "ts,ts_raw", "--limit", "1").stdout)
    claim(row["ts_raw"][:19].replace("T", " ") == row["ts"][:19].replace("T", " "), "both columns have it", row)


def a_field_that_no_record_has():
    (FOLDER / "case.yaml").write_text(PIPELINE.replace("event_id: string", "Event_Id: string").replace("lake: {uri: lake}", "lake: {uri: other}"))
    said = millrace("run", "-c", "case.yaml", "--until-end").stderr
    claim(said.count("none of the first") == 1 and "has a field 'Event_Id'; they have 'event_id'" in said,
          "one warning, with the nearest field, though there are few records", said)


def help_shows_what_works():
    def commands(*verb):
        shown = millrace(*verb, "--help")
        claim(shown.stderr == "", f"help of {verb} goes to stdout", shown.stderr)
        yield verb, shown.stdout
        if "Subcommands:" in shown.stdout:
            for line in shown.stdout.split("Subcommands:")[1].splitlines():
                name = re.match(r"  (\w+) +\S", line)
                if name:
                    yield from commands(*verb, name[1])

    seen = list(commands())
    claim(len(seen) > 25, "every command has help", [verb for verb, _ in seen])
    for verb, text in seen:
        claim("not supported" not in text and "Excludes:  " not in text, f"{verb}: nothing is shown that does not work", text)
        # An option and its words from column 30 on, which are on the next line if the name is long.
        lines = text.splitlines() + [""]
        for line, following in zip(lines, lines[1:]):
            if line.startswith("  -"):
                claim((line[29:30] == " " and line[30:].strip()) or following.startswith(" " * 30),
                      f"{verb}: an option without a word about it", line)
        wrong = millrace(*verb, "--no-such-option", code=2)
        claim("--no-such-option" in wrong.stderr or "required" in wrong.stderr.lower(), f"{verb}: usage errors are 2", wrong.stderr)
    for arguments in (("run", "-c", "p.yaml", "--set", "limits"), ("audit", "-c", "p.yaml", "--set", "=1")):
        claim("expected key=value" in millrace(*arguments, code=2).stderr, "an override without a value is a usage error")


refused_by_both()
nothing_is_made_before_all_is_checked()
topics_that_nobody_reads()
while_it_starts()
one_field_in_two_columns()
a_field_that_no_record_has()
help_shows_what_works()
end()
