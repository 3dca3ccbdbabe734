"""Goal: a person runs the demo, opens the page, asks the printed questions and reads the summary.

Method: `millrace demo` on a free port, until it has shown enough; the curl lines are taken from its own output; the page is loaded in
headless Chromium, whose DOM must show rates that are not zero; the summary must say that the books balance.
"""
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

BINARY = sys.argv[1]
ENOUGH = 20_000  # Events.
CHROMIUM_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--window-size=1400,1000"]


def get(url):
    with urllib.request.urlopen(url, timeout=60) as reply:
        return reply.read().decode()


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-demo-"))
    demo = subprocess.Popen([BINARY, "demo", "--rate", "3000", "--dir", str(folder / "demo"), "--port", "0"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(iter(demo.stdout.readline, "")), daemon=True)
    reader.start()
    try:
        deadline = time.time() + 180
        while not any("v1/pipeline" in line for line in lines):
            assert time.time() < deadline, "the demo printed no questions to ask: " + "".join(lines)
            assert demo.poll() is None, demo.stderr.read()
            time.sleep(0.1)
        welcome = "".join(lines)
        page = re.search(r"Page\s+(\S+)", welcome).group(1)
        questions = re.findall(r"curl '([^']+)'", welcome)
        assert len(questions) >= 3, welcome
        deadline = time.time() + 180
        while json.loads(get(questions[0]))["rows"] == 0:
            assert time.time() < deadline and demo.poll() is None, "no event is in an answer"
            time.sleep(0.1)
        for question in questions:
            answer = get(question)
            assert answer.strip(), question
        by_country = json.loads(get(questions[0]))
        assert by_country["rows"] > 0 and by_country["data"][0]["views"] > 0, by_country
        assert by_country["as_of"]["offsets"]["clicks"], by_country
        of_cities = next(question for question in questions if "readings_10s" in question)
        while "temperature" not in get(of_cities) or len(get(of_cities).splitlines()) < 2:
            assert time.time() < deadline and demo.poll() is None, "no reading is in an answer"
            time.sleep(0.1)

        def load(address):
            done = subprocess.run(["chromium", *CHROMIUM_FLAGS, f"--user-data-dir={folder}/chromium", "--virtual-time-budget=6000",
                                   "--enable-logging=stderr", "--dump-dom", address], capture_output=True, text=True, timeout=90)
            assert "Content Security Policy" not in done.stderr, "the page's own policy stops a part of it: " + done.stderr
            return done.stdout

        dom = load(page)
        rate = re.search(r'data-stage="log".*?<strong>([^<]*)<.*?class="arrow moves"[^>]*><span>([^<]*)<', dom)
        assert rate and re.search(r"[1-9]", rate.group(2)), "the page shows no rate: " + str(rate and rate.group(0))
        for name in ("explore clicks_1s", "explore readings_10s", "clicks_dead_letters"):
            assert name in dom, f"the page does not name {name}"
        assert "<canvas" in dom, "the page draws no chart"
        assert "<polyline" in load(page + "cost"), "the page of costs draws no curve"

        while float(json.loads(get(page + "v1/pipeline"))["totals"]["records"]) <= ENOUGH:
            assert time.time() < deadline and demo.poll() is None, "too few events come"
            time.sleep(0.1)
        demo.send_signal(signal.SIGINT)
        code = demo.wait(timeout=120)
        reader.join(timeout=60)
        summary = "".join(lines)[len(welcome):]
        assert code == 0, summary + demo.stderr.read()
        assert "every event is in its table, once" in summary, summary
        sent = re.search(r"([\d,]+) clicks and ([\d,]+) readings sent", summary)
        for fleet, number in zip(("clicks", "readings"), sent.groups()):
            table = re.search(rf"^{fleet} +.*$", summary, re.M).group(0).split()
            read, dead = int(table[3].replace(",", "")), int(table[5].replace(",", ""))
            assert read == int(number.replace(",", "")) > ENOUGH / 10, f"{number} {fleet} sent, {read} read"
            assert dead > 0, f"no malformed event of {fleet} became a dead letter"
        subprocess.run([BINARY, "demo", "--rate", "100", "--dir", str(folder / "short"), "--port", "0", "--for", "1s"], check=True,
                       capture_output=True, timeout=120)
        print("1 passed, 0 failed")
    finally:
        demo.kill()
    shutil.rmtree(folder)


main()
