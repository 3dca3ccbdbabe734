"""Values that columns coerce, round and read by a format, beside Python's decimal, datetime, uuid and base64, and DuckDB's casts: random
values, equal to the last bit. Each is asked of JSON, and of CSV where that can hold it.

Usage: column_values_test.py PATH_OF_decode_rows
"""

import base64
import csv
import datetime
import decimal
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import uuid

import duckdb
import pyarrow

DECODE = sys.argv[1]
SEED = int(os.environ.get("MILLRACE_SEED", "20261129"))
VALUES = 3000
PIPELINE = """version: 1
pipeline: values
source: {embedded: {path: log}, topics: [t]}
decode: {format: FORMAT, columns: {v: COLUMN}}
tables: [{name: v}]
lake: {uri: lake}
"""
ROUNDINGS = {"half_up": decimal.ROUND_HALF_UP, "half_even": decimal.ROUND_HALF_EVEN, "down": decimal.ROUND_DOWN}
UTC = datetime.timezone.utc
decimal.getcontext().prec = 200
random.seed(SEED)
folder = tempfile.TemporaryDirectory()
passed = 0
REFUSED = object()


def decode(column, documents, format="json"):
    """Per document its value, or REFUSED."""
    documents = list(documents)
    file = pathlib.Path(folder.name) / "pipeline.yaml"
    file.write_text(PIPELINE.replace("COLUMN", column).replace("FORMAT", format))
    asked = "".join(document.hex() + "\n" for document in documents)
    done = subprocess.run([DECODE, file], input=asked, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{column}: {done.stderr}"
    rows, *refused = done.stdout.splitlines()
    values = iter(pyarrow.ipc.open_stream(bytes.fromhex(rows)).read_all().column(0))
    gone = {int(line.split(" ", 1)[0]) for line in refused}
    answers = [REFUSED if i in gone else next(values) for i in range(len(documents))]
    assert next(values, None) is None
    return answers


def as_json(text):
    return f'{{"v": {text}}}'.encode()


def as_csv(text):
    line = io.StringIO()
    csv.writer(line, lineterminator="", quoting=csv.QUOTE_ALL).writerow([text])
    return line.getvalue().encode()


def compare(what, texts, answers, wanted, plain=lambda value: value.as_py()):
    global passed
    for text, answer, want in zip(texts, answers, wanted, strict=True):
        got = answer if answer is REFUSED else plain(answer)
        assert got is want or (got is not REFUSED and want is not REFUSED and got == want), \
            f"seed {SEED}, {what}: {text!r} is {'refused' if got is REFUSED else got!r}, not {'refused' if want is REFUSED else want!r}"
        passed += 1


def number_text():
    """A number as JSON has it, often one digit beyond what a type holds, often a half."""
    digits = random.choice([1, 2, 3, 5, 9, 12, 17, 18, 19, 20, 36, 37, 38, 39, 40, 60])
    whole = "".join(random.choice("0123456789") for _ in range(random.randint(1, digits))).lstrip("0") or "0"
    text = random.choice(["", "", "-"]) + whole
    if random.random() < 0.8:
        text += "." + "".join(random.choice("0123456789") for _ in range(random.randint(0, 6)))
        text += random.choice(["", "5", "50", "500000000000000000000000000000001", "49999999999999999999999999999999999999999"])
        text = text + "0" if text.endswith(".") else text
    if random.random() < 0.3:
        text += random.choice("eE") + random.choice(["", "+", "-"]) + str(random.choice([0, 1, 2, 5, 18, 37, 45]))
    return text


def rounded(text, precision, scale, rounding):
    exact = decimal.Decimal(text)
    unit = decimal.Decimal(1).scaleb(-scale)
    value = exact.quantize(unit, rounding=ROUNDINGS.get(rounding, decimal.ROUND_DOWN))
    if rounding is None and value != exact:
        return REFUSED
    return value if abs(value) < decimal.Decimal(10) ** (precision - scale) else REFUSED


def check_numbers():
    for rounding in [None, *ROUNDINGS]:
        said = f", round: {rounding}" if rounding else ""
        texts = [number_text() for _ in range(VALUES)]
        for precision, scale in [(12, 2), (18, 0), (19, 4), (38, 0), (38, 10), (38, 38), (5, 5), (1, 0)]:
            wanted = [rounded(text, precision, scale, rounding) for text in texts]
            assert sum(want is not REFUSED for want in wanted) > 20
            column = f'{{type: "decimal({precision},{scale})"{said}}}'
            compare(column, texts, decode(column, map(as_json, texts)), wanted)
            compare(column, texts, decode(column, map(as_csv, texts), "csv"), wanted)
        for bits in (32, 64):
            wanted = [rounded(text, 40, 0, rounding) for text in texts]
            wanted = [want if want is REFUSED or -2**(bits - 1) <= want < 2**(bits - 1) else REFUSED for want in wanted]
            column = f"{{type: int{bits}, coerce: true{said}}}"
            compare(column, texts, decode(column, map(as_json, texts)), wanted)
            compare(column, texts, decode(column, [as_json(json.dumps(text)) for text in texts]), wanted)
            compare(column, texts, decode(column, map(as_csv, texts), "csv"), wanted)


def check_coercions():
    texts = [number_text() for _ in range(VALUES)]
    doubles = [float(text) for text in texts]
    compare("double", texts, decode("{type: double, coerce: true}", [as_json(json.dumps(text)) for text in texts]), doubles)
    compare("string", texts, decode("{type: string, coerce: true}", map(as_json, texts)), texts)
    words = ["true", "t", "yes", "y", "on", "1", "false", "f", "no", "n", "off", "0", "2", "", "tru", "falsey", "onn", "-1"]
    words += [word.upper() for word in words] + [word.title() for word in words]
    wanted = []
    for word in words:  # DuckDB's cast knows these, and neither on nor off.
        known = {"on": True, "off": False}.get(word.lower())
        known = duckdb.execute("SELECT TRY_CAST(? AS BOOLEAN)", [word]).fetchone()[0] if known is None else known
        wanted.append(REFUSED if known is None else known)
    compare("bool", words, decode("{type: bool, coerce: true}", [as_json(json.dumps(word)) for word in words]), wanted)
    others = ['"5"', "5.0", "5e0", "true", "{}", "[]", '"x"', "5.5", "null"]
    compare("int64", others, decode("int64", map(as_json, others)),
            [REFUSED, 5, 5, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, None])
    compare("int64", others, decode("{type: int64, coerce: true}", map(as_json, others)),
            [5, 5, 5, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, None])
    compare("string", others, decode("string", map(as_json, others)),
            ["5", REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, "x", REFUSED, None])


def random_time():
    first = datetime.datetime(1, 1, 3, tzinfo=UTC)
    seconds = random.randrange(int((datetime.datetime(9999, 12, 29, tzinfo=UTC) - first).total_seconds()))
    if random.random() < 0.5:
        first, seconds = datetime.datetime(1970, 1, 1, tzinfo=UTC), random.randrange(-10**8, 2 * 10**9)
    return first + datetime.timedelta(seconds=seconds, microseconds=random.randrange(10**6))


FORMATS = ["%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%d %H:%M:%S.%f", "%Y%m%d%H%M%S", "%a, %d %b %Y %H:%M:%S %z", "%B %d %Y %I:%M:%S.%f %p",
           "%Y.%j %H h %M", "%m/%d/%y", "day %d%% of %m in %Y", "%Y-%m-%dT%H:%M:%S.%f%z", "%A %e %h %Y"]


def check_formats():
    for format in FORMATS:
        known = format.replace("%e", "%d").replace("%h", "%b")  # Python's words for them.
        texts, wanted = [], []
        for _ in range(VALUES // 3):
            time = random_time()
            if "%y" in format:
                time = time.replace(year=random.randrange(1969, 2069), day=min(time.day, 28))
            zone = datetime.timezone(datetime.timedelta(minutes=random.choice([0, 0, 60, -300, 330, 345, -570, 840, -720])))
            text = time.astimezone(zone if "%z" in format else UTC).strftime(known)
            if "%Y" in format:  # strftime leaves out zeros before the year.
                year = time.astimezone(zone if "%z" in format else UTC).year
                text = time.astimezone(zone if "%z" in format else UTC).strftime(known.replace("%Y", f"{year:04}"))
            if "%z" in format and random.random() < 0.3:
                text = text[:-2] + ":" + text[-2:]
            # Something else in its place, or less. But where nothing stands between numbers, Python tries several ways to cut them,
            # and it takes no short name for a long one.
            if random.random() < 0.3 and not any(other in format for other in ("%Y%m", "%B", "%A")):
                at = random.randrange(len(text))
                text = text[:at] + random.choice(["", random.choice("0123456789 :/%Zabcx.-+")]) + text[at + 1:]
            try:
                read = datetime.datetime.strptime(text, known)
                assert "%j" not in format or read.year == int(text[:4]), "Python passes over into the next year"
                read = read if read.tzinfo else read.replace(tzinfo=UTC)
                # Of the years that we have; and Python lets zones have seconds.
                want = (read - datetime.datetime(1970, 1, 1, tzinfo=UTC)) // datetime.timedelta(microseconds=1)
                want = want if -62135596800000000 <= want <= 253402300799999999 else REFUSED
            except (ValueError, OverflowError, AssertionError):
                want = REFUSED
            texts.append(text)
            wanted.append(want)
        answers = decode(f'{{type: timestamp, format: "{format}"}}', [as_json(json.dumps(text)) for text in texts])
        for text, answer, want in zip(texts, answers, wanted, strict=True):
            compare(format, [text], [answer], [want], lambda value: value.value)


def check_epochs():
    for unit, per_second in {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}.items():
        numbers = [random.randrange(-10**11, 10**11) * random.choice([1, per_second]) + random.choice([0, 1, 999, -1]) for _ in range(VALUES)]
        wanted = []
        for number in numbers:
            micros = number * 10**6 // per_second  # Towards the past.
            wanted.append(micros if -62135596800000000 <= micros <= 253402300799999999 else REFUSED)
        for texts in ([str(number) for number in numbers], [f'"{number}"' for number in numbers]):
            answers = decode(f"{{type: timestamp_{unit}, coerce: true}}", map(as_json, texts))
            compare(unit, texts, answers, wanted, lambda value: value.value)


def check_bytes():
    payloads = [random.randbytes(random.choice([0, 1, 2, 3, 4, 15, 16, 17, 100, 5000])) for _ in range(VALUES // 3)]
    for encode in (base64.b64encode, base64.urlsafe_b64encode, lambda some: base64.b64encode(some).rstrip(b"=")):
        texts = [encode(some).decode() for some in payloads]
        compare("binary", texts, decode("binary", [as_json(json.dumps(text)) for text in texts]), payloads)
    broken = ["A", "AAAAA", "AA=", "A===", "====", "AA A", "AA\nAA", "AAA*", "é", "=AAA"]
    compare("binary", broken, decode("binary", [as_json(json.dumps(text)) for text in broken]), [REFUSED] * len(broken))
    compare("raw", payloads[:300], decode("binary", payloads[:300], "raw"), payloads[:300])

    texts = [random.choice([str, lambda one: one.hex, lambda one: str(one).upper()])(uuid.UUID(int=random.getrandbits(128)))
             for _ in range(VALUES)]
    texts = [text if random.random() < 0.7 else text[:at] + random.choice("-gG0 {") + text[at + 1:]
             for text in texts for at in [random.randrange(len(text))]]
    shapes = {36: [8, 4, 4, 4, 12], 32: [32]}
    wanted = []
    for text in texts:  # Python passes over hyphens and braces wherever they are.
        good = [len(part) for part in text.split("-")] == shapes.get(len(text)) and all(c in "0123456789abcdefABCDEF-" for c in text)
        wanted.append(str(uuid.UUID(text)) if good else REFUSED)
    compare("uuid", texts, decode("uuid", [as_json(json.dumps(text)) for text in texts]), wanted)
    compare("uuid", texts, decode("uuid", map(as_csv, [t.strip() for t in texts]), "csv"), wanted)


def random_json(depth=0):
    kind = random.randrange(8 if depth < 4 else 5)
    if kind >= 5:
        return [random_json(depth + 1) for _ in range(random.randrange(4))] if kind == 5 else \
            {random.choice("abcé\"\\"): random_json(depth + 1) for _ in range(random.randrange(4))}
    return [None, True, random.randrange(-10**18, 10**18), random.random(), random.choice(["", "a\"b", "é\n", "\u0000", "5"])][kind]


def check_json():
    texts = [json.dumps(random_json(), ensure_ascii=random.random() < 0.5, indent=random.choice([None, 1])) for _ in range(VALUES)]
    wanted = [None if text == "null" else text for text in texts]
    compare("json", texts, decode("json", map(as_json, texts)), wanted)
    # A text that holds JSON.
    inner = [json.dumps(text) for text in texts]
    compare("json", inner, decode("{type: json, coerce: true}", map(as_json, inner)), [text.strip() for text in texts])
    compare("json", inner, decode("json", map(as_csv, texts), "csv"), texts)
    compare("string", texts, decode("{type: string, coerce: true}", map(as_json, texts)),
            [None if text == "null" else json.loads(text) if text[0] == '"' else text for text in texts])


for check in (check_numbers, check_coercions, check_formats, check_epochs, check_bytes, check_json):
    check()
print(f"{passed} values are as Python has them (seed {SEED})")
