"""Goal: clients that come by serve.postgres find their way by themselves: what psql, psycopg, the JDBC and ODBC drivers, DBeaver and Grafana
ask about tables, columns and themselves is answered with the tables that there are; Grafana's dashboard in share/ has rows.
"""
import json
import os
import pathlib
import re
import subprocess
import time

from postgres_door_test import EVENTS, Running, fails
from product import FOLDER, claim, end, millrace

HERE = pathlib.Path(__file__).parent
SHARE = HERE.parents[1] / "share" / "grafana"
JDBC = pathlib.Path(os.environ["MILLRACE_DEPS"]) / "jdbc" / "postgresql.jar"
COLUMNS = {"event_id": "text", "ts": "timestamp with time zone", "country": "text", "amount": "numeric(12,2)", "_topic": "text",
           "_partition": "integer", "_offset": "bigint", "_timestamp": "timestamp with time zone", "ts_date": "date"}
MEASURES = {"window_start": "timestamp with time zone", "country": "text", "views": "bigint",
            "revenue": "numeric(38,2)"}

# What Grafana's PostgreSQL data source asks: for its version, the tables of the search path, and a table's columns.
SEARCHED = """quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
  FROM generate_series(array_lower(string_to_array(current_setting('search_path'),','),1),
                       array_upper(string_to_array(current_setting('search_path'),','),1)) as i,
       string_to_array(current_setting('search_path'),',') s)"""
GRAFANA_VERSION = "SELECT current_setting('server_version_num')::int/100 as version"
GRAFANA_EXTENSION = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
GRAFANA_TABLES = f"""SELECT CASE WHEN {SEARCHED} THEN quote_ident(table_name)
    ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table"
  FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache')
  ORDER BY CASE WHEN {SEARCHED} THEN 0 ELSE 1 END, 1"""
GRAFANA_COLUMNS = f"""SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns
  WHERE CASE WHEN array_length(parse_ident('clicks'),1) = 2
    THEN quote_ident(table_schema) = (parse_ident('clicks'))[1] AND quote_ident(table_name) = (parse_ident('clicks'))[2]
    ELSE quote_ident(table_name) = 'clicks' AND {SEARCHED} END"""

# What DBeaver asks when it connects and unfolds a schema, with a part of the columns that come back.
DBEAVER = [
    ("SELECT current_schema(), session_user", {("public", "anybody")}),
    ("SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate OR db.datname = current_database() "
     "ORDER BY db.datname", None),
    ("SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d "
     "ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass ORDER BY nspname", None),
    ("SELECT t.oid, t.*, c.relkind, format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description "
     "FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid = t.typelem LEFT OUTER JOIN pg_catalog.pg_class c "
     "ON c.oid = t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid = d.objoid WHERE t.typname IS NOT NULL "
     "AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')", None),
    ("SELECT c.oid, c.*, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, "
     "pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d "
     "ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass WHERE c.relnamespace = 2200 "
     "AND c.relkind not in ('i','I','c')", None),
    ("SELECT c.relname, a.*, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value, dsc.description, dep.objid "
     "FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid = c.oid) LEFT OUTER JOIN pg_catalog.pg_attrdef ad "
     "ON (a.attrelid = ad.adrelid AND a.attnum = ad.adnum) LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid "
     "AND a.attnum = dsc.objsubid) LEFT OUTER JOIN pg_depend dep on dep.refobjid = a.attrelid AND dep.deptype = 'i' "
     "and dep.refobjsubid = a.attnum and dep.classid = dep.refclassid and dep.classid = 'pg_class'::regclass "
     "WHERE NOT a.attisdropped AND c.relkind not in ('i','I','c') AND c.oid = 'public.clicks'::regclass ORDER BY a.attnum", None),
    ("SELECT c.oid, c.*, t.relname as tabrelname, rt.relnamespace as refnamespace, d.description, case when c.contype='c' then "
     "pg_catalog.pg_get_constraintdef(c.oid, true) else null end consrc_copy FROM pg_catalog.pg_constraint c "
     "INNER JOIN pg_catalog.pg_class t ON t.oid = c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid = c.confrelid "
     "LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_constraint'::regclass "
     "WHERE c.conrelid = 'clicks'::regclass ORDER BY c.oid", set()),
    ("SELECT i.*, i.indkey as keys, c.relname, c.relnamespace, c.relam, c.reltablespace, tc.relname as tabrelname, dsc.description, "
     "pg_catalog.pg_get_expr(i.indpred, i.indrelid) as pred_expr, pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) as expr, "
     "pg_catalog.pg_relation_size(i.indexrelid) as index_rel_size FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c "
     "ON c.oid = i.indexrelid INNER JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid LEFT OUTER JOIN pg_catalog.pg_description dsc "
     "ON i.indexrelid = dsc.objoid WHERE i.indrelid = 'clicks'::regclass ORDER BY tabrelname, c.relname", set()),
    ("SELECT x.oid, x.*, p.pronamespace as func_schema, d.description FROM pg_catalog.pg_trigger x LEFT OUTER JOIN pg_catalog.pg_proc p "
     "ON p.oid = x.tgfoid LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = x.oid AND d.objsubid = 0 "
     "WHERE NOT x.tgisinternal", set()),
]


def psql(door):
    """The commands that begin with \\d, and their like, say what there is; what there is none of they say so."""
    def said(command):
        done = door.psql("-At", "-F,", "-P", "footer=off", "-c", command)
        claim(done.returncode == 0 and not done.stderr.startswith("ERROR"), command, (done.stdout, done.stderr))
        return done.stdout.splitlines()

    claim(said(r"\d") == ["public,clicks,table,millrace", "public,clicks_1m,view,millrace", "public,clicks_dead_letters,table,millrace"], r"\d", said(r"\d"))
    claim(said(r"\dt") == ["public,clicks,table,millrace", "public,clicks_dead_letters,table,millrace"], r"\dt", said(r"\dt"))
    claim(said(r"\dt public.cl*s") == said(r"\dt"), "a pattern")
    claim(said(r"\dv") == ["public,clicks_1m,view,millrace"], r"\dv", said(r"\dv"))
    for table, columns in (("clicks", COLUMNS), ("clicks_1m", MEASURES), ("public.clicks_1m", MEASURES)):
        listed = [line.split(",") for line in re.sub(r"\((\d+),(\d+)\)", r"(\1;\2)", "\n".join(said(rf"\d {table}"))).splitlines()]
        claim({line[0]: line[1].replace(";", ",") for line in listed} == columns, rf"\d {table}", listed)
    claim("Table \"public.clicks\"" in door.psql("-c", r"\d clicks").stdout and
          "View \"public.clicks_1m\"" in door.psql("-c", r"\d clicks_1m").stdout, "what it is")
    claim("numeric(12,2)" in door.psql("-c", r"\d+ clicks").stdout, r"\d+")
    nothing = door.psql("-c", r"\d nothing")
    claim("Did not find any relation named \"nothing\"" in nothing.stderr, r"\d of nothing", nothing)
    databases = said(r"\l")
    claim(len(databases) == 1 and databases[0].startswith("clicks,millrace,UTF8,C,C"), r"\l", databases)
    claim(said(r"\dn") == ["public,millrace"], r"\dn", said(r"\dn"))
    claim([line.split(",")[0] for line in said(r"\du")] == ["anybody", "millrace"], r"\du", said(r"\du"))
    claim(any(line.startswith("information_schema,tables,view") for line in said(r"\dvS information_schema.*")), "its own relations")
    for command in (r"\di", r"\ds", r"\dm", r"\dx", r"\df", r"\dT", r"\dp", r"\dD", r"\dy", r"\des", r"\dew", r"\det", r"\dRp", r"\dRs", r"\dF", r"\dFd",
                    r"\dc", r"\dC", r"\dd", r"\ddp", r"\dg", r"\dL", r"\do", r"\dO", r"\db", r"\dA", r"\drds", r"\dt+", r"\dv+", r"\l+", r"\dn+",
                    r"\dconfig", r"\dP", r"\z"):
        said(command)
    completed = door.psql("-Atc", "SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'v') AND "
                          "substring(pg_catalog.quote_ident(c.relname),1,5)='click' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> "
                          "(SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog') ORDER BY 1 LIMIT 1000")
    claim(completed.stdout.split() == ["clicks", "clicks_1m", "clicks_dead_letters"], "what Tab completes", completed)


def statements(door):
    with door.connect() as connection:
        def rows(question, values=None, **more):
            return connection.execute(question, values, **more).fetchall()
        claim(rows("SELECT current_user, session_user, current_database(), current_schema(), current_schemas(false)") ==
              [("anybody", "anybody", "clicks", "public", ["public"])], "who and where")
        claim(rows("SELECT version()")[0][0].startswith("PostgreSQL 15"), "a version that tools read")
        claim(rows("SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = %s", ["public", "VIEW"]) == [("clicks_1m",)],
              "with parameters")
        for prepare in (False, True):
            for binary in (False, True):
                got = connection.execute("SELECT c.oid, a.attname, a.attnum, a.atttypid, a.attnotnull FROM pg_class c "
                                         "JOIN pg_attribute a ON a.attrelid = c.oid "
                                         "WHERE c.relname = %s AND a.attnum > %s ORDER BY a.attnum", ["clicks", 0], prepare=prepare, binary=binary).fetchall()
                claim([row[1] for row in got] == list(COLUMNS) and [row[2] for row in got] == list(range(1, 1 + len(COLUMNS))), "columns", got)
        oid = got[0][0]
        claim(rows("SELECT 'clicks'::regclass::oid, %s::text::regclass, oid::regclass FROM pg_class WHERE oid = %s", ["public.clicks", oid]) ==
              [(oid, oid, "clicks")], "a table by its number and by its name", oid)
        # The type of an answer's column is one that the catalog knows.
        described = connection.execute("SELECT * FROM clicks_1m LIMIT 0").description
        named = {row[0]: row[1] for row in rows("SELECT oid, format_type(oid, NULL) FROM pg_type")}
        claim([named[column.type_code] for column in described] == [re.sub(r"\(.*", "", name) for name in MEASURES.values()],
              "types by number", (described, named))
        # Names with their schema and database are our tables, in statements about rows too.
        claim(rows("SELECT \"public\".\"clicks\".\"country\", current_user FROM \"public\".\"clicks\" ORDER BY 1 LIMIT 1")[0][1] == "anybody", "a schema")
        claim(rows("SELECT count(*) FROM clicks.public.clicks") == [(EVENTS,)], "a database")
        place = fails(connection, "SELECT contry FROM public.clicks", "42703", "contry")
        claim(place.diag.statement_position == "8", "a mistake has its place still")
        place = fails(connection, "SELECT public.clicks.country, contry FROM public.clicks", "42703", "contry")
        claim(place.diag.statement_position == "31", "behind a schema too", place.diag.statement_position)
        fails(connection, "SELECT * FROM pg_class, clicks", "42P01", "not both")
        fails(connection, "SELECT nothing FROM pg_class", "42703", "nothing")
        fails(connection, "SELECT pg_read_file('/etc/passwd')", "42000", "not allowed")
        fails(connection, "CREATE TABLE pg_class (a int)", "25006", "CREATE")
        connection.execute("SET statement_timeout = 300")
        fails(connection, "SELECT sum(range) FROM pg_class, range(1000000000000000)", "57014", "statement timeout")
        connection.execute("RESET ALL")
        for setting in ("SET NAMES 'UTF8'", "SET client_encoding TO 'UTF8'", "SET search_path = public", "SET lc_messages = 'C'",
                        "SET escape_string_warning = off",
                        "SET extra_float_digits = 3", "SET application_name = 'x'", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET jit = off"):
            connection.execute(setting)
        for name in ("transaction_isolation", "search_path", "max_identifier_length", "lc_collate", "server_version_num", "max_index_keys", "lc_ctype"):
            claim(rows(f"SHOW {name}")[0][0] == rows("SELECT setting FROM pg_settings WHERE name = %s", [name])[0][0], f"{name} by SHOW and in pg_settings")
        for question, wanted in DBEAVER:
            got = rows(question)
            claim(got if wanted is None else set(got) == wanted, question, got)


def jdbc(door):
    """DatabaseMetaData of the JDBC driver."""
    said = subprocess.run(["java", "-cp", str(JDBC), str(HERE / "PostgresMetadata.java"), f"jdbc:postgresql://127.0.0.1:{door.port}/clicks?user=anybody"],
                          capture_output=True, text=True, timeout=120)
    claim(said.returncode == 0, "it runs to its end", (said.stdout, said.stderr))
    told = {}
    for line in said.stdout.splitlines():
        topic, _, value = line.partition(": ")
        told.setdefault(topic, []).append(value)
    claim(told["table"] == ["clicks.public.clicks TABLE", "clicks.public.clicks_dead_letters TABLE", "clicks.public.clicks_1m VIEW"], "tables", told["table"])
    claim(told["escaped table"] == ["clicks.public.clicks_1m VIEW"], "a name with an escaped underscore", told["escaped table"])
    names = {"text": "text", "timestamp with time zone": "timestamptz", "numeric(12,2)": "numeric", "numeric(38,2)": "numeric",
             "integer": "int4", "bigint": "int8", "date": "date"}
    for table, columns in (("clicks", COLUMNS), ("clicks_1m", MEASURES)):
        wanted = [f"{table}.{name} {names[kind]}" for name, kind in columns.items()]
        claim([column.rsplit(" ", 2)[0] for column in told["column"] if column.startswith(table + ".")] == wanted, f"columns of {table}", told["column"])
    claim("clicks.amount numeric 12 2" in told["column"], "precision and scale", told["column"])
    claim(told["schema"] == ["information_schema", "pg_catalog", "public"] and told["catalog"] == ["clicks"], "schemas", told)
    claim(told["counts"] == ["keys 0, indexes 0, imported 0, exported 0, functions 0, procedures 0"], "what there is none of", told["counts"])
    claim(told["product"] == ["PostgreSQL 15.0 (Millrace)"] and "int8" in told["type"] and "_text" in told["type"], "product and types", told["product"])
    claim(told["asked"] == [f"{EVENTS} 20 times"], "a prepared statement, in binary from the fifth time on", told["asked"])


def odbc(door):
    """psqlODBC, with the commands of unixODBC's isql."""
    def isql(command):
        done = subprocess.run(["isql", "-v", "-b", "-d|", "-k",
                               f"Driver=PostgreSQL Unicode;Server=127.0.0.1;Port={door.port};Database=clicks;Uid=anybody;Pwd=x"],
                              input=command + "\n", capture_output=True, text=True, timeout=60)
        claim(done.returncode == 0 and "ERROR" not in done.stdout + done.stderr, f"isql {command}", (done.stdout, done.stderr))
        return [line.split("|") for line in done.stdout.splitlines()]

    tables = {line[2]: line[3] for line in isql("help") if len(line) > 3 and line[1] == "public"}
    claim(tables == {"clicks": "TABLE", "clicks_dead_letters": "TABLE", "clicks_1m": "VIEW"}, "tables", tables)
    columns = {line[3]: line[5] for line in isql("help clicks") if len(line) > 5}
    claim(list(columns) == list(COLUMNS), "columns", columns)
    claim(isql("SELECT count(*) AS n FROM clicks")[-1][0] == str(EVENTS), "rows")


def expanded(sql, begin, finish):
    """Grafana's macros, as its data source writes them."""
    def instant(at):
        return time.strftime("'%Y-%m-%dT%H:%M:%SZ'", time.gmtime(at))
    def macro(found):
        name, arguments = found.group(1), [argument.strip() for argument in found.group(2).split(",")]
        if name == "timeFilter":
            return f"{arguments[0]} BETWEEN {instant(begin)} AND {instant(finish)}"
        if name == "timeFrom":
            return instant(begin)
        if name == "timeTo":
            return instant(finish)
        if name == "time":
            return f'{arguments[0]} AS "time"'
        if name == "unixEpochFilter":
            return f"{arguments[0]} >= {begin} AND {arguments[0]} <= {finish}"
        if name in ("timeGroup", "timeGroupAlias"):
            number, unit = re.fullmatch(r"'?(\d+)([smhd])'?", arguments[1]).groups()
            seconds = int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
            return f"floor(extract(epoch from {arguments[0]})/{seconds})*{seconds}" + (' AS "time"' if name == "timeGroupAlias" else "")
        raise AssertionError(f"no macro $__{name}")
    return re.sub(r"\$__(\w+)\(([^)]*)\)", macro, sql).replace("$__interval", "1m")


def grafana(door):
    with door.connect() as connection:
        claim(float(connection.execute(GRAFANA_VERSION).fetchone()[0]) == 1500, "its version")
        claim(connection.execute(GRAFANA_EXTENSION).fetchall() == [], "no extension")
        claim(connection.execute(GRAFANA_TABLES).fetchall() == [("clicks",), ("clicks_1m",), ("clicks_dead_letters",)], "tables")
        claim(connection.execute(GRAFANA_COLUMNS).fetchall() == [(name, re.sub(r"\(.*", "", kind)) for name, kind in COLUMNS.items()], "columns")
        dashboard = json.loads((SHARE / "dashboards" / "millrace-clicks-postgres.json").read_text())
        sources = (SHARE / "provisioning" / "datasources" / "millrace.yaml").read_text()
        asked = 0
        now = int(time.time())
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                claim(target["datasource"] == panel["datasource"] and f"uid: {target['datasource']['uid']}" in sources,
                      "its data source is provisioned", target)
                answer = connection.execute(expanded(target["rawSql"], now - 86400, now + 86400))
                got = answer.fetchall()
                claim(got, f"{panel['title']} has rows", target["rawSql"])
                if target["format"] == "time_series":
                    times = [column.name for column in answer.description].index("time")
                    instants = [row[times] for row in got]
                    claim(None not in instants and instants == sorted(instants), "in time's order", got[:3])
                asked += 1
        claim(asked >= 4, "questions of the dashboard", asked)


def main():
    millrace("simulate", "clickstream", "--count", str(EVENTS), "--rate", "0", "--duplicates", "0%", "--malformed", "0%", "--late", "5%",
             "--to", "embedded:log/clicks")
    with Running() as door:
        with door.until_open() as connection:
            deadline = time.monotonic() + 180
            while (connection.execute("SELECT sum(views) FROM clicks_1m").fetchone() != (EVENTS,) or
                   connection.execute("SELECT count(*) FROM clicks").fetchone() != (EVENTS,)):
                assert time.monotonic() < deadline, "all events"
                time.sleep(0.1)
        psql(door)
        statements(door)
        jdbc(door)
        odbc(door)
        grafana(door)
    end()


if __name__ == "__main__":
    main()
