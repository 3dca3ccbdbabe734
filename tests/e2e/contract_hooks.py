"""What Schemathesis cannot know from the document: the names that there are, and the words of the languages in parameters.

A request that fits the document may be refused (400) for a reason that JSON Schema cannot say, such as a column that the table does
not have, and for nothing else: the refusal must name the parameter, or member of the body, that it is about and that was sent.
"""
import json
import os
import re
import zlib

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import ServerError

NAMES = json.loads(os.environ["CONTRACT_NAMES"])  # {"table": [...], "aggregate": [...]}
EVENT_TABLES = [name for name in NAMES["table"] if name not in NAMES["aggregate"]]

# Parameters and members whose values are of a language, or depend on others.
LANGUAGES = {
    "/v1/tables/{table}/rows": ["columns", "where", "order_by", "cursor", "version", "timestamp"],
    "/v1/tables/{table}/files": ["version"],
    "/v1/aggregates/{aggregate}": ["from", "to", "step", "group_by", "where", "measures", "order_by", "cursor",
                                   "fill"],
    "/v1/aggregates/{aggregate}/stream": ["from", "to", "step", "group_by", "where", "measures", "order_by"],
    "/v1/tap": ["input", "transform", "where"],
    "/v1/sql": ["sql", "params"],
    "/v1/cost/estimate": ["regions", "usage", "providers"],
}

for name, examples in {
        "millrace-time": ["-1h", "-1d", "2026-11-22T10:00:00Z", "1795341600", "1795341600000"],
        "millrace-duration": ["0", "1m", "5m", "1h", "1d"],
        "duckdb-condition": ["true", "1 = 1", "country = 'DE'", "country IN ('DE', 'FR') OR country IS NULL"],
        "duckdb-select": ["SELECT 1 AS one", "SELECT country, count(*) AS n FROM clicks GROUP BY ALL ORDER BY ALL",
                          "SELECT country, sum(views) AS views FROM clicks_1m GROUP BY ALL", "DESCRIBE clicks", "SHOW TABLES"],
}.items():
    schemathesis.openapi.format(name, st.sampled_from(examples))


def _is_positive(case):
    return case.meta is None or case.meta.generation.mode.is_positive


@schemathesis.hook
def before_call(context, case, kwargs):
    """Most names are of something that there is."""
    for parameter, names in NAMES.items():
        given = case.path_parameters.get(parameter)
        if given is None or not _is_positive(case):
            continue
        if context.operation.path.endswith("/rows"):
            names = EVENT_TABLES
        hashed = zlib.crc32(str(given).encode("utf-8", "replace"))
        if hashed % 8 != 0:
            case.path_parameters[parameter] = names[hashed // 8 % len(names)]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether it is one: not if the answer is a refusal of what a schema cannot say, or the end of time that the caller has set."""
    path, code = case.operation.path, response.status_code
    if type(failure).__name__ == "AcceptedNegativeData":
        # What a format of ours means is known to nobody who makes values that break it: 0 is a time too.
        broken = re.findall(r"violates `(\w+)`", failure.message)
        return not broken or set(broken) != {"format"}
    is_server_error = isinstance(failure, ServerError)
    if is_server_error and code == 504 and path == "/v1/sql":
        return "timeout_ms" not in str(case.body)  # A document, or its text.
    if is_server_error and code == 503:
        # Taps that were left a moment ago are still there; a machine may stand still for as long as is waited for an answer.
        is_full = path == "/v1/tap" and "taps are open" in response.text
        return not is_full and not re.search(r"did not answer within \d+ s", response.text)
    if type(failure).__name__ != "RejectedPositiveData" or code not in (400, 413):
        return True
    problem = response.json()
    if code == 413:
        return problem["code"] != "answer_too_large"
    if problem["code"] == "unknown_table":
        return path != "/v1/sql"
    sent = set(case.query or {}) | set(case.body if isinstance(case.body, dict) else {})
    if path == "/v1/sql" and problem["code"] == "invalid_request":
        return False
    return not any(name in sent and problem["detail"].startswith(name) for name in LANGUAGES.get(path, []))
