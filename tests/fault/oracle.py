"""What is right: DuckDB over the records of a topic, as far as an answer says that it goes.

A statement of SQL runs here as it was asked, over tables that are made anew of the records below the offsets that the answer names
for each of them; a question to an aggregate is written as a statement over the records themselves. Nothing of Millrace is
asked but the log of the dead letters, which says the records that each of its versions has.
"""

import collections
import datetime
import decimal

import duckdb
import pyarrow as pa

import books
import events

LETTERS = f"{events.PIPELINE}_dead_letters"
FIRST = 3  # Differences told of an answer.
MEASURES = {"views": "count(*)::BIGINT", "revenue": "sum(amount)", "fastest": "min(latency_ms)", "slowest": "max(latency_ms)",
            "mean": "avg(latency_ms)"}
_ALL_MEASURES = ", ".join(f"{sql} AS {name}" for name, sql in MEASURES.items())


def covered(offsets):
    """A condition: records below these offsets, by partition."""
    return "(" + (" OR ".join(f"(_partition = {int(p)} AND _offset < {int(end)})" for p, end in offsets.items()) or "false") + ")"


class Oracle:
    """Of one topic. `truth`: its records, or the first of them; take() brings more. `lake`: where the dead letters are."""

    def __init__(self, topic, truth=None, lake=None):
        self.topic, self.lake = topic, lake
        self.ends = {}  # Next offset of each partition of what was taken.
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")
        self.db.register("taken", books.TRUTH_SCHEMA.empty_table())
        self.db.execute("CREATE TABLE truth AS SELECT * FROM taken")
        self._letters = {}  # By version: (partition, offset) of its rows, as a registered table.
        if truth is not None:
            self.take(truth)

    def take(self, truth):
        self.db.register("taken", truth.table)
        self.db.execute("INSERT INTO truth SELECT * FROM taken")
        self.ends = dict(self.db.execute("SELECT _partition, max(_offset) + 1 FROM truth GROUP BY 1").fetchall())

    def _letters_at(self, version):
        """The name of a table with the places of the letters of this version, by its log alone."""
        if version not in self._letters:
            log = books.Log(self.lake / LETTERS, version)
            files = [str(log.file(path)) for path in log.live]
            name = f"letters_{version}"
            rows = f"SELECT partition, \"offset\" FROM read_parquet({files!r}, hive_partitioning = false)" if files else (
                "SELECT 0 AS partition, 0 AS \"offset\" WHERE false")
            self.db.execute(f"CREATE TABLE {name} AS {rows}")
            self._letters[version] = name
        return self._letters[version]

    def has_all_letters(self, version):
        """Each record that is a dead letter is in this version of their table."""
        return self.db.execute(f"SELECT count(*) FROM truth ANTI JOIN {self._letters_at(version)} ON _partition = partition AND "
                               "_offset = \"offset\" WHERE outcome = 'dead'").fetchone() == (0,)

    def has_all_records(self, offsets):
        """Every record is below these."""
        return {int(partition): end for partition, end in offsets.get(self.topic, {}).items()} == self.ends

    def _table(self, name, as_of):
        if name == LETTERS:
            return (f"SELECT '{self.topic}' AS topic, l.partition, l.\"offset\", stage, value AS payload, key FROM "
                    f"{self._letters_at(as_of['version'])} l LEFT JOIN (FROM truth WHERE outcome = 'dead') ON _partition = partition "
                    "AND _offset = \"offset\"")
        below = covered(as_of["offsets"].get(self.topic, {}))
        if name == "events":
            return (f"SELECT {', '.join(books.COLUMNS)}, '{self.topic}' AS _topic, _partition, _offset, "
                    f"make_timestamptz(log_us) AS _timestamp FROM truth WHERE outcome = 'row' AND {below}")
        if name == "views_1m":
            return (f"SELECT time_bucket(INTERVAL 1 MINUTE, ts) AS window_start, cc, page, {_ALL_MEASURES} FROM truth "
                    f"WHERE outcome = 'row' AND {below} GROUP BY ALL")
        raise KeyError(name)

    def check_sql(self, sql, parameters, as_of, columns, rows, ordered=False):
        """None if the rows are right, else what is wrong. `as_of`: by table."""
        tables = ", ".join(f"{name} AS ({self._table(name, at)})" for name, at in as_of.items())
        return self._compare(f"WITH {tables} {sql}", parameters, columns, rows, ordered, as_of)

    def check_aggregate(self, parameters, offsets, columns, rows, ordered=True):
        """Likewise of a question to views_1m. `parameters`: of the URL; `offsets`: by partition, of the answer; `ordered`: the rows
        have the order that the question has, if it has one."""
        conditions = ["outcome = 'row'", covered(offsets)]
        if "where" in parameters:
            conditions.append(parameters["where"])
        if "from" in parameters:
            conditions.append(f"window_start >= '{parameters['from']}'::TIMESTAMPTZ")
        if "to" in parameters:
            conditions.append(f"window_start < '{parameters['to']}'::TIMESTAMPTZ")
        keys = [key for key in parameters["group_by"].split(",") if key]
        step = parameters["step"]
        if step != "0" and "window_start" not in keys:
            keys = ["window_start", *keys]
        bucket = f"time_bucket(INTERVAL {step.removesuffix('m')} MINUTE, window_start, TIMESTAMPTZ '1970-01-01T00:00:00Z')"
        selected = [f"{bucket} AS window_start" if key == "window_start" else key for key in keys]
        measures = parameters["measures"].split(",") if "measures" in parameters else list(MEASURES)
        selected += [f"{MEASURES[name]} AS {name}" for name in measures]
        grouped = f"GROUP BY {', '.join(map(str, range(1, len(keys) + 1)))}" if keys else "HAVING count(*) > 0"
        sql = (f"SELECT {', '.join(selected)} FROM (SELECT *, time_bucket(INTERVAL 1 MINUTE, ts) AS window_start FROM truth) "
               f"WHERE {' AND '.join(f'({c})' for c in conditions)} {grouped}")
        if "order_by" in parameters:
            sql += f" ORDER BY {parameters['order_by']} LIMIT {parameters['limit']}"
        if not keys and "views" in columns:  # Nothing at all: a row of zero and nulls, or no row, says the same.
            rows = [row for row in rows if int(row[columns.index("views")]) != 0]
        return self._compare(sql, [], columns, rows, ordered and "order_by" in parameters, offsets)

    def _compare(self, sql, parameters, columns, rows, ordered, as_of):
        table = self.db.execute(sql, parameters).to_arrow_table()
        missing = [name for name in table.column_names if name not in columns]
        if missing:
            return f"the columns {missing} are not in the answer, which has {columns}"
        kinds = [field.type for field in table.schema]
        want = list(zip(*(map(_comparable, column.to_pylist(), [kind] * table.num_rows)
                          for column, kind in zip(table.columns, kinds))))
        places = [columns.index(name) for name in table.column_names]
        got = [tuple(_comparable(row[place], kind) for place, kind in zip(places, kinds)) for row in rows]
        if got == want or (not ordered and collections.Counter(got) == collections.Counter(want)):
            return None
        only_got = collections.Counter(got) - collections.Counter(want)
        only_want = collections.Counter(want) - collections.Counter(got)
        return (f"{table.column_names}: only in the answer {_first(only_got)}; only over the topic up to {as_of} {_first(only_want)}"
                + ("; or in another order" if ordered else ""))


def _first(rows):
    return f"{list(rows)[:FIRST]} of {rows.total()}"


def _comparable(value, kind):
    """As a value that equals what the same is through another door."""
    if value is None:
        return None
    if pa.types.is_timestamp(kind):
        if isinstance(value, str):
            value = datetime.datetime.fromisoformat(value)
        return (value - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)
    if pa.types.is_decimal(kind) or pa.types.is_integer(kind):
        return decimal.Decimal(str(value))
    if pa.types.is_floating(kind):
        return float(value)
    return value
