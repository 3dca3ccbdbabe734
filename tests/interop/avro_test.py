"""Our Avro decoder beside fastavro's: random schemas, values, and pairs of a writer's and a reader's schema, with fixed seeds. What
fastavro reads we read, to the last bit; what it cannot resolve is a dead letter. Fingerprints are checked by framing.

Usage: avro_test.py PATH_OF_avro_decode [ROUNDS [SEED]]
"""

import copy
import datetime
import decimal
import io
import json
import math
import random
import struct
import subprocess
import sys
import uuid

import fastavro
import pyarrow

ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 400
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 18
RECORDS = 20
decimal.getcontext().prec = 60
EXACT = {"parse_float": lambda text: text, "parse_int": lambda text: text}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
PRIMITIVES = ["boolean", "int", "long", "float", "double", "string"]
LOGICAL = [{"type": "int", "logicalType": "date"}, {"type": "int", "logicalType": "time-millis"}, {"type": "long", "logicalType": "time-micros"},
           {"type": "long", "logicalType": "timestamp-millis"}, {"type": "long", "logicalType": "timestamp-micros"},
           {"type": "long", "logicalType": "local-timestamp-millis"}, {"type": "long", "logicalType": "local-timestamp-micros"},
           {"type": "string", "logicalType": "uuid"}]


class Schemas:
    """Random schemas, and values of them as fastavro takes them."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.names = 0

    def name(self, prefix):
        self.names += 1
        return f"{prefix}{self.names}"

    def leaf(self):
        kind = self.random.random()
        if kind < 0.55:
            return self.random.choice(PRIMITIVES)
        if kind < 0.75:
            return copy.deepcopy(self.random.choice(LOGICAL))
        if kind < 0.85:
            return {"type": "enum", "name": self.name("E"), "symbols": [f"S{i}" for i in range(self.random.randint(1, 5))]}
        precision = self.random.randint(1, 18)
        of = {"logicalType": "decimal", "precision": precision, "scale": self.random.randint(0, precision)}
        return {"type": "bytes", **of} if kind < 0.93 else {"type": "fixed", "name": self.name("F"), "size": 8, **of}

    def type(self, depth, resolvable=False):
        kind = self.random.random()
        if depth > 3 or kind < 0.5:
            return self.leaf()
        if kind < 0.65:
            inner = self.type(depth + 1, resolvable)
            if isinstance(inner, list) or inner == "null":
                return inner
            return ["null", inner] if self.random.random() < 0.7 else [inner, "null"]
        if kind < 0.78:
            items = self.leaf() if resolvable else self.type(depth + 1)
            return {"type": "array", "items": ["null", items] if self.random.random() < 0.3 and not isinstance(items, list) else items}
        if kind < 0.9 or resolvable:
            return self.record(depth + 1, resolvable)
        if kind < 0.95:
            return {"type": "map", "values": self.type(depth + 1)}
        return ["null", "string", "long", {"type": "array", "items": "boolean"}, self.record(depth + 1)]

    def record(self, depth, resolvable=False):
        return {"type": "record", "name": self.name("R"),
                "fields": [{"name": f"f{i}", "type": self.type(depth, resolvable)} for i in range(self.random.randint(1, 6))]}

    def value(self, schema):
        r = self.random
        if isinstance(schema, list):
            branch = r.choice(schema)
            value = self.value(branch)
            return (branch["name"], value) if isinstance(branch, dict) and branch["type"] == "record" and len(schema) > 2 else value
        kind = schema["type"] if isinstance(schema, dict) else schema
        logical = schema.get("logicalType") if isinstance(schema, dict) else None
        if logical == "date":
            return datetime.date.fromordinal(r.randint(1, datetime.date.max.toordinal()))
        if logical in ("time-millis", "time-micros"):
            micros = r.randrange(86_400_000) * 1000 if logical == "time-millis" else r.randrange(86_400_000_000)
            return (datetime.datetime.min + datetime.timedelta(microseconds=micros)).time()
        if logical and "timestamp" in logical:
            micros = r.randint(-62_135_596_800_000_000 // 1000, 253_402_300_799_999_999 // 1000) * 1000
            micros += 0 if logical.endswith("millis") else r.randrange(1000)
            moment = EPOCH + datetime.timedelta(microseconds=micros)
            return moment.replace(tzinfo=None) if logical.startswith("local") else moment
        if logical == "uuid":
            return uuid.UUID(int=r.getrandbits(128))
        if logical == "decimal":
            digits = r.randint(0, schema["precision"])
            return decimal.Decimal(r.choice([1, -1]) * r.randrange(10**digits)).scaleb(-schema["scale"])
        if kind == "null":
            return None
        if kind == "boolean":
            return r.random() < 0.5
        if kind in ("int", "long"):
            bits = 31 if kind == "int" else 63
            return r.choice([0, 1, -1, 2**bits - 1, -(2**bits), r.randint(-(2 ** r.randint(1, bits)), 2 ** r.randint(1, bits) - 1)])
        if kind in ("float", "double"):
            size, form = (4, "<f") if kind == "float" else (8, "<d")
            value = struct.unpack(form, r.randbytes(size))[0]
            return 1.5 if math.isnan(value) else r.choice([value, 0.0, -0.0, float("inf"), float(r.randint(-1000, 1000))])
        if kind == "string":
            return "".join(r.choice("abc \"\\\n\u00fc\u20ac\U0001f600") for _ in range(r.choice([0, 1, 7, 8, 9, 30])))
        if kind == "enum":
            return r.choice(schema["symbols"])
        if kind == "array":
            return [self.value(schema["items"]) for _ in range(r.randint(0, 4))]
        if kind == "map":
            return {f"k{i}": self.value(schema["values"]) for i in range(r.randint(0, 3))}
        return {field["name"]: self.value(field["type"]) for field in schema["fields"]}

    def evolved(self, schema):
        """As a reader may have it: fields moved, renamed, added and dropped, types promoted, or not compatible at all."""
        r = self.random
        if isinstance(schema, list):
            return schema if r.random() < 0.9 else schema + [b for b in ["double", "string"] if b not in [t if isinstance(t, str) else t["type"] for t in schema]]
        if schema == "int":
            return r.choice(["int", "long", "float", "double", ["null", "long"]])
        if schema == "long":
            return r.choice(["long", "long", "float", "double", ["null", "long"], "int"])
        if schema == "float":
            return r.choice(["float", "double"])
        if isinstance(schema, str):
            return r.choice([schema] * 4 + [["null", schema]])
        schema = copy.deepcopy(schema)
        if schema["type"] == "enum" and r.random() < 0.5:
            schema["symbols"] = schema["symbols"][1:] + ["New"]
            if r.random() < 0.5:
                schema["default"] = "New"
        elif schema["type"] == "array":
            schema["items"] = self.evolved(schema["items"])
        elif schema["type"] == "record":
            fields = [field for field in schema["fields"] if r.random() < 0.9] or schema["fields"][:1]
            for field in fields:
                field["type"] = self.evolved(field["type"])
                if r.random() < 0.2:
                    field["aliases"] = [field["name"]]
                    field["name"] = "new_" + field["name"]
            if r.random() < 0.5:
                fields.append({"name": self.name("added"), **r.choice([
                    {"type": ["null", "long"], "default": None}, {"type": "string", "default": "x\u00fc"}, {"type": "double", "default": 0.1},
                    {"type": {"type": "array", "items": "int"}, "default": [1, 2]}, {"type": "int"}])})
            r.shuffle(fields)
            schema["fields"] = fields
        return schema


def inner(schema):
    """Without null."""
    others = [branch for branch in schema if branch != "null"] if isinstance(schema, list) else [schema]
    return others[0] if len(others) == 1 else others


def column_type(schema):
    schema = inner(schema)
    if isinstance(schema, list):
        return "string"
    kind = schema["type"] if isinstance(schema, dict) else schema
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    if logical == "decimal":
        return f"decimal({schema['precision']},{schema['scale']})"
    if logical in ("date", "timestamp-millis", "timestamp-micros"):
        return logical.split("-")[0]
    if logical:
        return "string"
    if kind == "array":
        item = column_type(schema["items"])
        plain = inner(schema["items"])
        nested = isinstance(plain, list) or (isinstance(plain, dict) and plain["type"] in ("array", "map", "record"))
        return "string" if nested else f"list<{item}>"
    return {"boolean": "bool", "int": "int32", "long": "int64", "float": "double", "double": "double"}.get(kind, "string")


def is_json(schema):
    """A text column holds such values as JSON."""
    nested = inner(schema)
    return column_type(schema) == "string" and (isinstance(nested, list) or (isinstance(nested, dict) and nested["type"] in ("array", "map", "record")))


def columns_of(schema, path=()):
    """A column for each field; those of nested records by their paths."""
    columns = []
    for field in schema["fields"]:
        here = [*path, field["name"]]
        nested = inner(field["type"])
        if isinstance(nested, dict) and nested["type"] == "record":
            columns += columns_of(nested, here)
        else:
            columns.append(("_".join(here), here, column_type(field["type"]), field["type"]))
    return columns


def moment_text(value, logical):
    digits = 3 if logical.endswith("millis") else 6
    if isinstance(value, datetime.time):
        return f"{value:%H:%M:%S}." + f"{value.microsecond:06}"[:digits]
    text = f"{value.year:04}-{value:%m-%dT%H:%M:%S}." + f"{value.microsecond:06}"[:digits]
    return text + ("" if logical.startswith("local") else "Z")


def plain(value, schema):
    """As a column has it, or as JSON."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (datetime.time, datetime.datetime)):
        logical = inner(schema)["logicalType"]
        return value if column_type(schema) == "timestamp" else moment_text(value, logical)
    if isinstance(value, list):
        return [plain(item, inner(schema)["items"]) for item in value]
    return value


def as_json(value, schema):
    """What json.loads makes of our text."""
    if isinstance(schema, list):
        if isinstance(value, tuple):
            return as_json(value[1], next(b for b in schema if isinstance(b, dict) and b.get("name") == value[0]))
        for branch in schema:
            try:
                fits = fastavro.validate(value, branch, raise_errors=False)
            except Exception:  # Of a schema that names a type which another branch defines.
                fits = False
            if fits:
                return as_json(value, branch)
    kind = schema["type"] if isinstance(schema, dict) else schema
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    if isinstance(value, (datetime.time, datetime.datetime)):
        return moment_text(value, logical)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return value
    if kind == "float" and math.isfinite(value):
        return ("float", struct.pack("<f", value))
    if kind in ("float", "double"):
        return ("double", struct.pack("<d", value)) if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
    if kind == "array":
        return [as_json(item, schema["items"]) for item in value]
    if kind == "map":
        return {key: as_json(item, schema["values"]) for key, item in value.items()}
    if kind == "record":
        return {field["name"]: as_json(value[field["name"]], field["type"]) for field in schema["fields"]}
    return value


def same_json(ours, want):
    if isinstance(want, tuple):
        form = "<f" if want[0] == "float" else "<d"
        return struct.pack(form, float(ours)) == want[1]
    if isinstance(want, decimal.Decimal):
        return decimal.Decimal(ours) == want and (want == 0 or str(ours).find("e") < 0)
    if isinstance(want, list):
        return len(ours) == len(want) and all(map(same_json, ours, want))
    if isinstance(want, dict):
        return list(ours) == list(want) and all(same_json(ours[key], want[key]) for key in want)
    if isinstance(want, bool) or want is None or isinstance(want, str):
        return ours == want
    return int(ours) == want


class Decoder:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, writer, reader, columns, payloads, unknown_fields="ignore"):
        question = {"reader": json.dumps(reader), "writer": json.dumps(writer), "unknown_fields": unknown_fields,
                    "columns": [column[:3] for column in columns], "payloads": [payload.hex() for payload in payloads]}
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        rows = pyarrow.ipc.open_stream(bytes.fromhex(answer["rows"])).read_all()
        return rows.to_pylist(), {int(index): why for index, why in answer["refused"].items()}


def written(schema, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def at(value, path):
    for part in path:
        if value is None:
            return None
        value = value[part]
    return value


def check_same_schema(decoder, seed):
    """Top-level columns, nested values as JSON, and all of it rescued."""
    schemas = Schemas(seed)
    schema = schemas.record(0)
    parsed = fastavro.parse_schema(copy.deepcopy(schema))
    values = [schemas.value(schema) for _ in range(RECORDS)]
    payloads = [written(parsed, value) for value in values]
    columns = [(field["name"], [field["name"]], column_type(field["type"]), field["type"]) for field in schema["fields"]]
    rows, refused = decoder(schema, schema, columns, payloads)
    assert not refused, (seed, schema, refused)
    rescued, refused = decoder(schema, schema, [], payloads, "rescue")
    assert not refused, (seed, refused)
    for row, others, value in zip(rows, rescued, values):
        rest = json.loads(others["_rescued"] or "{}", **EXACT)
        for name, _, _, of in columns:
            field = value[name]
            if field is None or (isinstance(field, tuple) and field[1] is None):
                assert row[name] is None and name not in rest, (seed, name, row)
                continue
            assert same_json(rest[name], as_json(field, of)), (seed, name, of, field, rest[name])
            if is_json(of):
                assert same_json(json.loads(row[name], **EXACT), as_json(field, of)), (seed, name, of, field, row[name])
            else:
                assert plain(row[name], of) == plain(field, of), (seed, name, of, field, row[name])
    return len(values)


def check_resolution(decoder, seed):
    schemas = Schemas(seed)
    writer = schemas.record(0, resolvable=True)
    reader = schemas.evolved(writer)
    parsed = fastavro.parse_schema(copy.deepcopy(writer))
    values = [schemas.value(writer) for _ in range(RECORDS)]
    payloads = [written(parsed, value) for value in values]
    columns = columns_of(reader)
    rows, refused = decoder(writer, reader, columns, payloads)
    rows = iter(rows)
    resolved = 0
    for index, payload in enumerate(payloads):
        try:
            want = fastavro.schemaless_reader(io.BytesIO(payload), copy.deepcopy(writer), copy.deepcopy(reader))
        except Exception as error:  # Of many kinds: SchemaResolutionError, KeyError, IndexError.
            assert index in refused, (seed, writer, reader, values[index], repr(error))
            continue
        assert index not in refused, (seed, writer, reader, values[index], refused[index])
        row = next(rows)
        resolved += 1
        for name, path, _, of in columns:
            field = at(want, path)
            if is_json(of) and field is not None:
                good = same_json(json.loads(row[name], **EXACT), as_json(field, of))
            else:
                good = plain(row[name], of) == plain(field, of)
            assert good, (seed, path, of, want, row[name])
    return resolved


def main():
    decoder = Decoder(sys.argv[1])
    same = sum(check_same_schema(decoder, SEED * 1_000_000 + i) for i in range(ROUNDS))
    resolved = sum(check_resolution(decoder, SEED * 1_000_000 + i) for i in range(ROUNDS))
    assert same == ROUNDS * RECORDS and resolved > ROUNDS * RECORDS / 4, (same, resolved)
    print(f"avro_test: {same} records of {ROUNDS} schemas, {resolved} through {ROUNDS} pairs of schemas: the same as fastavro's")


if __name__ == "__main__":
    main()
