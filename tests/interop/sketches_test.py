"""Sketches in the table of an aggregate, read by Apache DataSketches' Python package and by Spark, beside our own answers.

Usage: sketches_test.py PATH_OF_millrace
Both share no code with our program but, in Python's case, the library that made the bytes.
"""

import bisect
import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import spark_session  # before anything of pyspark

import datasketches
from deltalake import DeltaTable

PIPELINE = """version: 1
pipeline: clicks
source:
  embedded: {path: log}
  topics: [clicks]
decode:
  format: json
  columns: {event_id: string, ts: timestamp, country: string, amount: "decimal(12,2)", user_id: int64, latency_ms: double, page: string}
event_time: {column: ts}
tables: [{name: clicks}]
aggregates:
  - name: clicks_1m
    sql: >
      SELECT window_start, country, count(*) AS views, approx_count_distinct(event_id) AS events,
        approx_count_distinct(user_id) AS users
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
  - name: sets_1s
    sql: >
      SELECT window_start, country, theta_sketch(user_id) FILTER (WHERE latency_ms < 100) AS fast,
        theta_sketch(user_id) FILTER (WHERE latency_ms >= 100) AS slow, theta_sketch(event_id) AS events,
        theta_union(fast, slow) AS either, theta_intersect(fast, slow) AS both, theta_difference(fast, slow) AS only_fast
      FROM TUMBLE(input, ts, INTERVAL 1 SECOND) GROUP BY ALL
  - name: latency_1m
    sql: >
      SELECT window_start, country, approx_quantile(latency_ms, [0, 0.25, 0.5, 0.95, 1]) AS latency,
        approx_top_k(page, 3) AS pages
      FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL
lake: {uri: lake}
log: {level: warn}
"""
passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def millrace(*arguments, cwd, code=0):
    done = subprocess.run([MILLRACE, *map(str, arguments)], capture_output=True, text=True, timeout=300, cwd=cwd)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout[:2000]}\n{done.stderr}"
    return done


def close(estimate, exact, standard_error):
    return abs(estimate - exact) <= max(1, 3 * standard_error * exact)


def run_pipeline(folder, pipeline=PIPELINE):
    (folder / "clicks.yaml").write_text(pipeline)
    for seed in range(3):  # Three commits, so that windows have several partial rows.
        time.sleep(1)  # Events are stamped with the time of day: each commit has a window of a second that the one before has not.
        millrace("simulate", "clickstream", "--count", 8000, "--rate", 0, "--seed", seed, "--to", "embedded:log/clicks", cwd=folder)
        millrace("run", "-c", "clicks.yaml", "--until-end", cwd=folder)
    rows = DeltaTable(folder / "lake" / "clicks").to_pyarrow_dataset().count_rows()
    claim(rows == 3 * 8000, "each event is a row", rows)


def answers(folder, *arguments, of="clicks_1m"):
    said = millrace("query", of, "-c", "clicks.yaml", "-o", "json", *arguments, cwd=folder).stdout
    return json.loads(said)["data"]


def union_of(sketches):
    """Merged with itself at last: until then the library may keep an estimate that rests on the order in which values came (HIP),
    which is not in our bytes. The set stays the same."""
    union = datasketches.hll_union(12)
    for sketch in sketches:
        union.update(datasketches.hll_sketch.deserialize(sketch))
    twice = datasketches.hll_union(12)
    for _ in range(2):
        twice.update(union.get_result(datasketches.HLL_8))
    return twice.get_result(datasketches.HLL_8)


def python_reads_the_distinct_counts(folder):
    partial = DeltaTable(folder / "lake" / "clicks_1m").to_pyarrow_table().to_pylist()
    raw = DeltaTable(folder / "lake" / "clicks").to_pyarrow_table().to_pylist()
    for column, value in [("events", "event_id"), ("users", "user_id")]:
        by_country, exact = collections.defaultdict(list), collections.defaultdict(set)
        for row in partial:
            by_country[row["country"]].append(row[column])
        for row in raw:
            exact[row["country"]].add(row[value])
        told = {row["country"]: row[column] for row in answers(folder, "--step", "0", "--group-by", "country")}
        claim(told.keys() == exact.keys() and len(told) > 2, f"{column}: each country has an answer", told)
        for country, sketches in by_country.items():
            union = union_of(sketches)
            claim(round(union.get_estimate()) == told[country], f"{column} of {country}: the estimate of Python's union",
                  (union.get_estimate(), told[country]))
            claim(close(told[country], len(exact[country]), 0.0163), f"{column} of {country}: within the published error",
                  (told[country], len(exact[country])))
            # Sketches made there of the same values are of the same set: a union of both is no larger.
            theirs = datasketches.hll_sketch(12, datasketches.HLL_8)
            for each in exact[country]:
                theirs.update(each)
            both = datasketches.hll_union(12)
            both.update(union)
            both.update(theirs)
            claim(both.get_estimate() == union.get_estimate(), f"{column} of {country}: hashed as in Python")


def python_reads_the_sets(folder):
    sets, exact = collections.defaultdict(datasketches.theta_union), collections.defaultdict(set)
    for row in DeltaTable(folder / "lake" / "sets_1s").to_pyarrow_table().to_pylist():
        for column in ["fast", "slow", "events"]:
            if row[column] is not None:
                sets[row["country"], column].update(datasketches.compact_theta_sketch.deserialize(row[column]))
    for row in DeltaTable(folder / "lake" / "clicks").to_pyarrow_table().to_pylist():
        exact[row["country"], "fast" if row["latency_ms"] < 100 else "slow"].add(row["user_id"])
        exact[row["country"], "events"].add(row["event_id"])
    told = {row["country"]: row for row in answers(folder, "--step", "0", "--group-by", "country", of="sets_1s")}
    claim(len(told) > 2, "each country has an answer", told)
    for (country, column), union in sets.items():
        estimate = union.get_result().get_estimate()
        claim(round(estimate) == told[country][column], f"{column} of {country}: the estimate of Python's union", (estimate, told[country]))
        claim(close(estimate, len(exact[country, column]), 0.0156), f"{column} of {country}: within the published error")
        # A sketch made there of the same values is the same set.
        theirs = datasketches.update_theta_sketch(12)
        for each in exact[country, column]:
            theirs.update(each)
        alone = datasketches.theta_union()
        alone.update(theirs)
        claim(alone.get_result().serialize() == union.get_result().serialize(), f"{column} of {country}: hashed as in Python")
    for country, row in told.items():
        fast, slow = sets[country, "fast"].get_result(), sets[country, "slow"].get_result()
        intersection = datasketches.theta_intersection()
        intersection.update(fast)
        intersection.update(slow)
        either = datasketches.theta_union()
        either.update(fast)
        either.update(slow)
        theirs = {"either": either.get_result(), "both": intersection.get_result(), "only_fast": datasketches.theta_a_not_b().compute(fast, slow)}
        claim({name: round(sketch.get_estimate()) for name, sketch in theirs.items()} == {name: row[name] for name in theirs},
              f"{country}: the set operations are Python's", row)
        users = {name: exact[country, name] for name in ["fast", "slow"]}
        in_either = len(users["fast"] | users["slow"])
        for name, count in [("both", len(users["fast"] & users["slow"])), ("only_fast", len(users["fast"] - users["slow"]))]:
            claim(close(row[name], count, 0.0156 * (in_either / max(1, count)) ** 0.5), f"{name} of {country}: within the published error", (row, count))


def a_question_puts_sets_together(folder):
    windows = sorted({row["window_start"] for row in answers(folder, of="sets_1s")})
    middle = windows[len(windows) // 2]
    sets = [f"theta_sketch(events) FILTER (WHERE window_start {which} '{middle}')" for which in ["<", ">="]]
    told = answers(folder, "--step", "0", "--group-by", "country", "--measures", f"theta_difference({sets[0]}, {sets[1]}) AS early, events", of="sets_1s")
    before, after = collections.defaultdict(set), collections.defaultdict(set)
    for row in DeltaTable(folder / "lake" / "clicks").to_pyarrow_table().to_pylist():
        (before if row["ts"].strftime("%Y-%m-%dT%H:%M:%SZ") < middle else after)[row["country"]].add(row["event_id"])
    claim(len(told) > 2 and any(before.values()) and any(after.values()), "there are events before and after", told)
    for row in told:
        early, either = before[row["country"]] - after[row["country"]], before[row["country"]] | after[row["country"]]
        claim(close(row["early"], len(early), 0.0156 * (len(either) / max(1, len(early))) ** 0.5), "who came before and not after", (row, len(early)))


def python_reads_the_quantiles(folder):
    values, theirs = collections.defaultdict(list), collections.defaultdict(lambda: datasketches.kll_doubles_sketch(200))
    for row in DeltaTable(folder / "lake" / "clicks").to_pyarrow_table().to_pylist():
        bisect.insort(values[row["country"]], row["latency_ms"])
    for row in DeltaTable(folder / "lake" / "latency_1m").to_pyarrow_table().to_pylist():
        theirs[row["country"]].merge(datasketches.kll_doubles_sketch.deserialize(row["latency"]))
    told = {row["country"]: row["latency"] for row in answers(folder, "--step", "0", "--group-by", "country", of="latency_1m")}
    claim(told.keys() == values.keys() == theirs.keys(), "each country has an answer", told)
    for country, exact in values.items():
        least, *middle, greatest = told[country]
        claim((least, greatest) == (exact[0], exact[-1]), "the ends are exact", told)
        claim(theirs[country].get_n() == len(exact), "Python's union is of all values", (theirs[country].get_n(), len(exact)))
        for share, value in zip([0.25, 0.5, 0.95], middle):
            for name, estimate in [("ours", value), ("Python's", theirs[country].get_quantile(share))]:
                ranks = [cut(exact, estimate) / len(exact) for cut in (bisect.bisect_left, bisect.bisect_right)]
                # Twice the published 1.33 %, which one sketch in a hundred exceeds somewhere: batches come as they come.
                claim(ranks[0] - 0.0266 <= share <= ranks[1] + 0.0266, f"{name} at {share}: near the published error", ranks)


def python_reads_the_most_frequent(folder):
    exact, theirs = collections.defaultdict(collections.Counter), collections.defaultdict(lambda: datasketches.frequent_strings_sketch(10))
    for row in DeltaTable(folder / "lake" / "clicks").to_pyarrow_table().to_pylist():
        exact[row["country"]][row["page"]] += 1
    for row in DeltaTable(folder / "lake" / "latency_1m").to_pyarrow_table().to_pylist():
        theirs[row["country"]].merge(datasketches.frequent_strings_sketch.deserialize(row["pages"]))
    told = {row["country"]: row["pages"] for row in answers(folder, "--step", "0", "--group-by", "country", of="latency_1m")}
    for country, counts in exact.items():
        claim(len(counts) <= 768 and told[country] == sorted(counts, key=lambda page: (-counts[page], page))[:3],
              f"the most frequent of {country}", (told[country], counts))
        claim(all(theirs[country].get_estimate(page) == count for page, count in counts.items()), f"Python's counts of {country}")


def spark_reads_the_distinct_counts(spark, folder):
    spark.sql(millrace("lake", "view", "clicks_1m", "-c", "clicks.yaml", "--dialect", "spark", cwd=folder).stdout)
    told = {(row["window_start"], row["country"]): (row["views"], row["events"], row["users"]) for row in answers(folder)}
    theirs = {(row["window_start"].strftime("%Y-%m-%dT%H:%M:%SZ"), row["country"]): (row["views"], row["events"], row["users"])
              for row in spark_session.rows_of(spark.sql("SELECT * FROM clicks_1m"))}
    # Estimates of a few hundred values and more may differ within the error: see union_of(); Spark's union is the library's.
    differ = {key: (theirs.get(key), told[key]) for key in told if theirs.get(key) != told[key]}
    claim(theirs.keys() == told.keys() and len(told) > 3, "Spark's view has our groups", (theirs.keys(), told.keys()))
    claim(all(we_say[0] > 250 for _, we_say in differ.values()) and len(differ) < len(told), "Spark's view says what we say", differ)
    for (_, country), (spark_says, we_say) in differ.items():
        claim(spark_says[0] == we_say[0] and all(close(a, b, 0.0163) for a, b in zip(spark_says, we_say)),
              f"{country}: but for the estimates of large sets", (spark_says, we_say))
    refused = millrace("lake", "view", "clicks_1m", "-c", "clicks.yaml", "--dialect", "duckdb", cwd=folder, code=1).stderr
    claim("only Spark's can merge" in refused, "DuckDB has no such function, and we say so", refused)


def main():
    global MILLRACE
    MILLRACE = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        run_pipeline(folder)
        python_reads_the_distinct_counts(folder)
        python_reads_the_sets(folder)
        a_question_puts_sets_together(folder)
        python_reads_the_quantiles(folder)
        python_reads_the_most_frequent(folder)
        spark = spark_session.start(folder)
        try:
            spark_reads_the_distinct_counts(spark, folder)
        finally:
            spark.stop()
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
