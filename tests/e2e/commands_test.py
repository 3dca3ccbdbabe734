"""Goal: every command answers as documented: exit codes, stdout for data, stderr for messages, errors that name the place."""
import csv
import io
import json
import re

import product
from product import FOLDER, claim, end, millrace

PIPELINE = product.PIPELINE + """aggregates:
  - name: clicks_1m
    sql: SELECT window_start, country, count(*) AS views, sum(amount) AS revenue FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
  - name: odd
    sql: |
      SELECT country, sum(amount::DOUBLE) / 7 AS seventh, sum(amount::INTEGER::HUGEINT * 1234567890123456789) AS big, max(ts) - min(ts) AS span,
        [avg(amount), 1e22] AS pair, max(CASE WHEN country = 'DE' THEN 'a, "b"' END) AS text FROM input GROUP BY ALL
"""


def cost():
    """What a load costs: every format, every error, the verbs around them."""
    one_screen = millrace("cost", "estimate", "--events-per-second", "10000").stdout
    claim(all(text in one_screen for text in ["AWS", "Google Cloud", "Azure", "Total", "Why", "Advice"])
          and one_screen.count("\n") <= 50, "one command answers for each provider, and why, on one screen", one_screen)
    reference = millrace("cost", "estimate", "--preset", "reference", "--provider", "aws").stdout
    claim("1,104.09" in reference and "438.00" in reference, "the worked example", reference)
    (FOLDER / "a.json").write_text(millrace("cost", "estimate", "--preset", "reference", "--provider", "aws", "--format", "json").stdout)
    (FOLDER / "b.json").write_text(millrace("cost", "estimate", "--preset", "reference", "--provider", "aws", "--format", "json",
                                            "--broker-follower-fetch", "true").stdout)
    diff = millrace("cost", "diff", "a.json", "b.json").stdout
    claim("438.00 -> 350.40 (-87.60)" in diff and diff.count("~") == 1, "diff names the line that changed", diff)
    claim("the second file: not JSON" in millrace("cost", "diff", "a.json", "clicks.yaml", code=1).stderr, "diff wants estimates")
    for form, part in [("csv", "monthly_cost"), ("focus", "ListCost"), ("html", "<!doctype html>")]:
        millrace("cost", "estimate", "--format", form, "--out-file", f"cost.{form}")
        claim(part in (FOLDER / f"cost.{form}").read_text(), f"--format {form} --out-file")
    claim("more than --fail-over 1000.00" in
          millrace("cost", "estimate", "--preset", "reference", "--provider", "aws", "--fail-over", "1000", code=1).stderr, "--fail-over")
    millrace("cost", "estimate", "--preset", "reference", "--provider", "aws", "--fail-over", "1200")
    from_pipeline = millrace("cost", "estimate", "-c", "clicks.yaml", "--provider", "aws", "--assumptions").stdout
    claim("pipeline clicks" in from_pipeline and "embedded" in from_pipeline, "tables and log of a pipeline.yaml", from_pipeline)
    own = millrace("cost", "estimate", "--preset", "reference", "--provider", "own", "--set-price", "own.core@own=6", "--set-price",
                   "own.memory@own=1.5", "--set-price", "own.disk@own=12", "--set-price", "own.bandwidth@own=0.002").stdout
    claim("Own machines" in own and "no price" not in own and "Prices of yours" in own, "own machines at own prices", own)

    ranked = millrace("cost", "estimate", "--preset", "reference", "--provider", "aws,gcp,azure", "--rank-regions", "--near", "frankfurt",
                      "--within", "25").stdout
    section = ranked.split("Regions, the cheapest first")[1].split("Why")[0]
    claim(all(text in section for text in ["eu-central-1", "europe-west3", "westeurope", "ms"]) and "us-east-1" not in section,
          "regions near a place, ranked", ranked)
    claim("Cheapest region within 25 ms of frankfurt" in ranked, "--near with advice", ranked)
    graviton = millrace("cost", "estimate", "--preset", "reference", "--provider", "aws", "--compute-machine", "m7g.large").stdout
    claim("2 x m7g.large" in graviton and "119.14" in graviton, "a machine by its name", graviton)
    serverless = millrace("cost", "estimate", "--preset", "reference", "--provider", "aws", "--broker-mode", "managed",
                          "--broker-service", "serverless").stdout
    claim("MSK Serverless: 12 partitions" in serverless and "no price" not in serverless, "another managed log", serverless)

    (FOLDER / "usage.yaml").write_text("events_per_second: 100\nlake: {retenton: 3d}\n")
    for arguments, code, message in [
            (["-f", "usage.yaml"], 78, "usage.yaml:2:8: unknown key 'lake.retenton'; did you mean 'lake.retention'?"),
            (["--events-per-second", "-1"], 2, "events_per_second: -1 is less than 0"),
            (["--events-per-second", "1000000000000000000"], 2, "is more than 1000000000"),
            (["--region", "eu-cntral-1"], 2, "did you mean 'eu-central-1'?"),
            (["--provider", "awz"], 2, "did you mean 'aws'?"),
            (["--compute-machine", "m7g.larg"], 2, "did you mean 'm7g.large'?"),
            (["--preset", "startr"], 78, "did you mean 'starter'?"),
            (["--set-price", "aws.ekss@us-east-1=1"], 78, "did you mean 'aws.eks'?"),
            (["--near", "frankfrut"], 2, "did you mean 'Frankfurt'?"),
            (["--from-live", "http://127.0.0.1:9"], 1, "http://127.0.0.1:9")]:
        wrong = millrace("cost", "estimate", *arguments, code=code)
        claim(message in wrong.stderr and wrong.stdout == "", f"cost estimate {' '.join(arguments)}", wrong.stderr)
    sheet = "version: 1\nsheet: mine\ncurrency: USD\nprices:\n  - {sku: aws.eks, region: us-east-1, unit: h, usd: 0.05}\n"
    (FOLDER / "mine.yaml").write_text(sheet)
    claim("mine.yaml:5:5: aws.eks@us-east-1: a price needs a source" in millrace("cost", "prices", "verify", "mine.yaml", code=78).stderr,
          "a sheet without a source is refused with its place")
    (FOLDER / "mine.yaml").write_text(sheet.replace("0.05}", "0.05, source: {url: 'https://example.org', retrieved: 2026-11-01, kind: list}}"))
    millrace("cost", "prices", "verify", "mine.yaml")
    laid = millrace("cost", "estimate", "--preset", "reference", "--provider", "aws", "--prices", "mine.yaml").stdout
    claim("1,067.59" in laid and "Prices of yours: aws.eks@us-east-1" in laid, "a sheet laid over the shipped one", laid)
    verified = millrace("cost", "prices", "verify").stdout
    claim("shipped: ok: " in verified and "each with unit, source and days" in verified, "the shipped sheet is verified", verified)
    claim(any(line.split()[:2] == ["aws", "eu-central-1"] and " of " in line and "aws.msk.express.in" in line
              for line in verified.splitlines()), "its coverage is a table by provider and region", verified)
    (FOLDER / "odd.yaml").write_text((FOLDER / "mine.yaml").read_text().replace("0.05", "0.5"))
    odd = millrace("cost", "prices", "verify", "odd.yaml", code=1)
    claim("odd.yaml: odd: aws.eks@us-east-1: 0.5 is 5 times the median 0.1 of its regions" in odd.stderr, "an odd price is found", odd.stderr)
    claim("aws-s3" in millrace("cost", "prices", "list", "--region", "us-east-1").stdout, "prices list")
    claim("aws.disk.gp3" in millrace("cost", "prices", "list", "--region", "ca-west-1", "--missing").stdout, "prices list --missing")
    shown = millrace("cost", "prices", "show", "aws.nat.hour").stdout
    claim("https://" in shown and "No sourced price: us-east-2" in shown, "prices show names sources and gaps", shown)
    (FOLDER / "azure.json").write_text(json.dumps({"Items": [{
        "type": "Consumption", "currencyCode": "USD", "armRegionName": "westus3", "productName": "General Block Blob v2",
        "meterName": "Hot LRS Write Operations", "unitOfMeasure": "10K", "retailPrice": 0.05, "tierMinimumUnits": 0.0}]}))
    millrace("cost", "prices", "update", "--provider", "azure", "--from", "azure.json", "--out-file", "azure.yaml")
    for prices, missing in [([], True), (["--prices", "azure.yaml"], False)]:
        shown = millrace("cost", "estimate", "--provider", "azure", "--region", "westus3", *prices).stdout
        claim(("request of azure.blob.hot-lrs.write" in shown) == missing, "an updated price is no longer missing", shown)


def before_the_first_run():
    """Who only reads makes nothing, and says what would."""
    what_to_do = "the first 'millrace run -c clicks.yaml' makes the lake and its tables"
    for folder in (None, "lake"):  # There is no lake; there is one without tables.
        if folder:
            (FOLDER / folder).mkdir()
        for verb in (["query", "clicks_1m"], ["audit"], ["dlq", "list"], ["dlq", "show", "clicks", "0", "0"], ["dlq", "replay"],
                     ["dlq", "replay", "--dry-run"]):
            claim(what_to_do in millrace(*verb, "-c", "clicks.yaml", code=1).stderr, f"{' '.join(verb)} before the first run")
        claim(not list((FOLDER / "lake").iterdir()) if folder else not (FOLDER / "lake").exists(), "and nothing is made")
    (FOLDER / "lake").rmdir()
    claim(what_to_do in millrace("lake", "view", "clicks_1m", "-c", "clicks.yaml", code=1).stderr, "lake view before the first run")


def bad_flags():
    """What a flag cannot be is refused, in a line that a terminal has room for."""
    empty = "the value is empty; leave the flag out, or give it one"
    for arguments, message in [
            (["query", "clicks_1m", "--measures", ""], f"--measures: {empty}"),
            (["query", "clicks_1m", "--order-by", ""], f"--order-by: {empty}"),
            (["query", "clicks_1m", "--where", ""], f"--where: {empty}"),
            (["query", "clicks_1m", "--from", ""], f"--from: {empty}"),
            (["query", "clicks_1m", "-c", ""], f"--config: {empty}"),
            (["query", ""], f"aggregate: {empty}"),
            (["audit", "-c", ""], f"--config: {empty}"),
            (["lake", "read", "lake/clicks", "--where", ""], f"--where: {empty}"),
            (["lake", "read", "lake/clicks", "--timestamp", ""], f"--timestamp: {empty}"),
            (["cost", "estimate", "--preset", ""], f"--preset: {empty}"),
            (["simulate", "clickstream", "--to", ""], f"--to: {empty}"),
            (["query", "clicks_1m", "--measures", "views,"], "'views,' has an empty name"),
            (["query", "clicks_1m", "--order-by", "views desc,"], "'views desc,' has an empty name"),
            (["lake", "read", "lake/clicks", "--columns", "country,,ts"], "'country,,ts' has an empty name"),
            (["cost", "estimate", "--provider", "aws,"], "'aws,' has an empty name"),
            (["query", "clicks_1m", "--limit", "0"], "--limit: '0' is not a whole number of 1 or more"),
            (["query", "clicks_1m", "--limit", "9" * 20], "is not a whole number of 1 or more"),
            (["lake", "read", "lake/clicks", "--limit", "1.5"], "--limit: '1.5' is not a whole number of 0 or more"),
            (["lake", "history", "lake/clicks", "--limit", "-1"], "--limit: '-1' is not a whole number of 1 or more"),
            (["lake", "describe", "lake/clicks", "--version", "-1"], "--version: '-1' is not a whole number of 0 or more"),
            (["lake", "optimize", "lake/clicks", "--target-mib", "0"], "'0' is not a whole number from 1 to 16384"),
            (["demo", "--port", "65536"], "--port: '65536' is not a whole number from 0 to 65535"),
            (["demo", "--rate", "0"], "--rate: '0' is not a number above 0"),
            (["simulate", "clickstream", "--rate", "nan"], "--rate: 'nan' is not a number of 0 or more"),
            (["simulate", "clickstream", "--devices", "4294967296"], "is not a whole number from 1 to 4294967295"),
            (["simulate", "iot", "--devices", "10000001"], "--devices 10000001: at most 10000000 sensors"),
            (["simulate", "iot", "--late", "41%"], "--late 41%: at most 40% of iot events can be late"),
            (["simulate", "iot", "--robots", "1%"], "--robots and --without-consent are of clickstream"),
            (["simulate", "clickstream", "--wrong-clocks", "1%"], "--sensor-faults and --wrong-clocks are of iot"),
            (["simulate", "clickstream", "--late", "60%", "--duplicates", "41%"], "are more than all events together"),
            (["simulate", "clickstream", "--robots", "-1"], "--robots -1: expected a share such as 2% or 0.02"),
            (["simulate", "clickstream", "--speed", "2"], "--speed is of simulated time: it needs --start"),
            (["simulate", "clickstream", "--speed", "2", "--start", "now", "--rate", "3"], "give one of them"),
            (["simulate", "clickstream", "--interval", "2s", "--rate", "3"], "both say how many events there are"),
            (["simulate", "clickstream", "--start", "1969-01-01"], "--start 1969-01-01: expected a time from 1970 on"),
            (["simulate", "clickstream", "--start", "noon"], "--start: "),
            (["simulate", "clickstream", "--burst", "10x5s"], "--burst 10x5s: expected FACTORxLENGTH/EVERY such as 10x5s/1m"),
            (["simulate", "clickstream", "--burst", "10x5m/1m"], "it lasts longer than it takes to come again"),
            (["simulate", "clickstream", "--for", "0s"], "--for 0s: expected a time above 0"),
            (["simulate", "clickstream", "--registry", "http://localhost"], "--registry is for --format avro and protobuf"),
            (["simulate", "iot", "--format", "avro", "--malformed", "1%"], "--malformed and --registry need a topic"),
            (["simulate", "iot", "--count", "1", "--to", "file:none/f"], "--to file:none/f: the file cannot be written"),
            (["simulate", "iot", "--count", "1", "--to", "nowhere"], "--to nowhere: expected kafka://BROKERS/TOPIC"),
            (["simulate", "iot", "--count", "1", "--truth", "none/t"], "none/t cannot be written"),
            (["simulate", "clickstream", "--count", "x"], "--count: 'x' is not a whole number of 0 or more"),
            (["ingest", "t", "lake/clicks", "-l", "0"], "'0' is not a whole number of 1 or more"),
            (["cost", "estimate", "--fail-over", "-1"], "'-1' is not a number of 0 or more"),
            (["cost", "estimate", "--within", "0"], "'0' is not a number above 0"),
            (["query", "clicks_1m", "-c", "clicks.yaml", "--freshness", "hot"], "with --url in place of -c")]:
        wrong = millrace(*arguments, code=2)
        claim(message in wrong.stderr and wrong.stdout == "" and len(wrong.stderr) < 250, f"{' '.join(arguments)}", wrong.stderr)


def bad_questions():
    """To an aggregate in the lake."""
    everything = millrace("query", "clicks_1m", "-c", "clicks.yaml", "--step", "0", "--group-by", "", "-o", "csv").stdout
    claim(everything.count("\n") == 2 and everything.startswith("views,revenue"), "an empty --group-by is one group of all", everything)
    (FOLDER / "more.yaml").write_text(PIPELINE.replace("sum(amount)", "max(amount) AS top, sum(amount)"))
    for arguments in ([], ["--measures", "views"]):
        grown = millrace("query", "clicks_1m", "-c", "more.yaml", *arguments, code=1).stderr
        claim("made by another definition: state top is new" in grown and "Give the aggregate a new name, or move" in grown,
              "a measure that the table does not have: why, and what to do", grown)
    claim("did you mean 'clicks_1m'" in millrace("query", "click_1m", "-c", "clicks.yaml", code=1).stderr, "the nearest aggregate")
    claim("group_by: 'country,' has an empty name" in
          millrace("query", "clicks_1m", "-c", "clicks.yaml", "--group-by", "country,", code=1).stderr, "an empty key")


def one_value_is_one_text():
    """In each format, to the last digit; a table is read back from what the API says."""
    def ask(form):
        return millrace("query", "odd", "-c", "clicks.yaml", "--order-by", "country", "-o", form).stdout
    rows = json.loads(ask("json"), parse_float=str, parse_int=str)["data"]
    claim(any(len(row["seventh"]) > 16 for row in rows) and any(len(row["big"]) > 19 for row in rows), "numbers of many digits", rows)
    claim(all(re.fullmatch(r"(\d+ days? )?\d\d:\d\d:\d\d(\.\d+)?", row["span"]) for row in rows), "an interval as DuckDB prints it", rows)
    in_csv = list(csv.DictReader(io.StringIO(ask("csv"))))
    table = ask("table").splitlines()
    claim(len(in_csv) == len(rows) == len(table) - 1, "the same rows", table)
    for row, of_csv, line in zip(rows, in_csv, table[1:]):
        pair = f"[{','.join(row['pair'])}]"
        claim(of_csv == {**row, "pair": pair, "text": row["text"] or ""}, "JSON and CSV", (row, of_csv))
        claim(re.split("  +", line.strip()) == [row["country"], row["seventh"], row["big"], row["span"], pair, row["text"] or "NULL"],
              "and the table", (row, line))
    by_end = json.loads(millrace("query", "clicks_1m", "-c", "clicks.yaml", "--group-by", "window_end", "-o", "json").stdout)["data"]
    by_start = json.loads(millrace("query", "clicks_1m", "-c", "clicks.yaml", "--group-by", "window_start", "-o", "json").stdout)["data"]
    claim(by_end and [row["views"] for row in by_end] == [row["views"] for row in by_start] and "window_end" in by_end[0],
          "a window by its end", by_end[:2])


def main():
    (FOLDER / "clicks.yaml").write_text(PIPELINE)
    before_the_first_run()
    bad_flags()
    claim("0.1.0" in millrace("version").stdout, "version prints itself")
    claim("--help" in millrace(code=2).stderr, "no verb is a usage error that points to the help")
    claim("--nonsense" in millrace("version", "--nonsense", code=2).stderr, "an unknown option is named")
    claim("ok" in millrace("validate", "clicks.yaml").stderr, "a valid file is ok")

    (FOLDER / "wrong.yaml").write_text(PIPELINE.replace("columns:", "colums:"))
    wrong = millrace("validate", "wrong.yaml", code=78).stderr
    claim("wrong.yaml:8" in wrong and "columns" in wrong, "a typo is found with its line and the nearest name", wrong)

    # Two columns of lines go to stdout, the count to stderr.
    simulated = millrace("simulate", "clickstream", "--count", "20", "--rate", "0")
    events = [json.loads(line) for line in simulated.stdout.splitlines()]
    claim(len(events) == 20 and all(event.keys() >= {"event_id", "ts", "amount", "user_agent"} for event in events), "simulate writes an event a line", simulated.stdout[:300])
    claim("20 events sent" in simulated.stderr, "simulate counts on stderr", simulated.stderr)

    millrace("simulate", "clickstream", "--count", "5000", "--rate", "0", "--malformed", "1%", "--to", "embedded:log/clicks")
    millrace("run", "-c", "clicks.yaml", "--until-end")
    audit = json.loads(millrace("audit", "-c", "clicks.yaml", "-o", "json").stdout)
    clicks = next(t for t in audit["tables"] if t["name"] == "clicks")
    claim(audit["ok"] and clicks["read"] == 5000 and clicks["written"] + clicks["dead_lettered"] == 5000,
          "everything sent is read, once", audit)
    claim(clicks["dead_lettered"] > 0, "broken events are dead letters", audit)
    millrace("run", "-c", "clicks.yaml", "--until-end")
    again = json.loads(millrace("audit", "-c", "clicks.yaml", "-o", "json").stdout)
    claim(again["tables"][0]["read"] == 5000, "a second run reads nothing twice", again)

    answer = json.loads(millrace("query", "clicks_1m", "-c", "clicks.yaml", "--step", "0", "--group-by", "country",
                                 "--order-by", "views desc", "-o", "json").stdout)
    claim(sum(row["views"] for row in answer["data"]) == clicks["written"], "the aggregate counts what the table holds", answer)
    table = millrace("query", "clicks_1m", "-c", "clicks.yaml", "--step", "0", "--group-by", "country", "--limit", "3").stdout
    claim(table.splitlines()[0].split() == ["country", "views", "revenue"] and len(table.splitlines()) == 4,
          "a table has a header and the rows asked for", table)
    claim("did you mean 'country'" in millrace("query", "clicks_1m", "-c", "clicks.yaml", "--group-by", "contry", code=1).stderr,
          "a wrong key is answered with the nearest")
    claim("clicks_2m" in millrace("query", "clicks_2m", "-c", "clicks.yaml", code=1).stderr, "an unknown aggregate is named")
    for verb in [["query"], ["lake", "view"]]:
        for name, instead in [("click_1m", "did you mean 'clicks_1m'?"), ("zebra", "there are: clicks_1m")]:
            said = millrace(*verb, name, "-c", "clicks.yaml", code=1).stderr
            claim(f"no aggregate '{name}'" in said and instead in said, f"{verb[-1]}: an unknown aggregate, and which are meant", said)
    for name, instead in [("vews", "did you mean 'views'?"), ("zebra", "there are: views, revenue")]:
        said = millrace("query", "clicks_1m", "-c", "clicks.yaml", "--measures", name, code=1).stderr
        claim(f"no measure '{name}'" in said and instead in said, "an unknown measure, and which are meant", said)
    bad_questions()
    one_value_is_one_text()
    unreachable = millrace("query", "clicks_1m", "--url", "http://127.0.0.1:9", code=1).stderr
    claim("http://127.0.0.1:9" in unreachable and "-c FILE" in unreachable, "no server: says where and what else", unreachable)
    described = json.loads(millrace("lake", "describe", "lake/clicks", "-o", "json").stdout)
    claim(described["rows"] == clicks["written"] and described["partition_by"] == ["ts_date"], "describe", described)
    history = millrace("lake", "history", "lake/clicks").stdout.splitlines()
    claim(len(history) >= 3 and "CREATE TABLE" in history[-1], "history, newest first", history)
    missing = millrace("lake", "describe", "nowhere", code=1)
    claim("nowhere" in missing.stderr and not (FOLDER / "nowhere").exists(), "a missing table is named, not made", missing.stderr)
    claim(missing.stdout == "", "an error leaves stdout empty")

    cost()
    ingest = millrace("ingest", "clicks", "lake/clicks", "--dlq_transform", "x: y", code=78).stderr
    claim("--dlq_transform: there is no --dlq_table_location" in ingest, "what ingest lacks is said", ingest)
    jmespath = millrace("ingest", "clicks", "lake/clicks", "-t", "country: substr(ts, 0, 4)", code=78).stderr
    claim("at character 12 of 'substr(ts, 0, 4)': numbers stand in backticks: `0`" in jmespath,
          "a wrong expression is told with its place", jmespath)
    claim("nowhere" in millrace("ingest", "clicks", "nowhere", code=1).stderr, "ingest needs its table")


main()
end()
