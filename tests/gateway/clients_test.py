"""Goal: what OpenTelemetry's SDK and Influx' client send is in the log, and rows of a table; and both hear what became of it.

    clients_test.py MILLRACE READ_LOG
"""
import base64
import datetime
import gzip
import json
import logging
import pathlib
import shutil
import subprocess
import sys
import tempfile
import warnings

import requests
from deltalake import DeltaTable
from google.protobuf.json_format import MessageToDict
from google.rpc.status_pb2 import Status
from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from running import Gateway, records

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kafka"))
from broker import free_port  # noqa: E402

BINARY, READER = sys.argv[1], sys.argv[2]
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="millrace-gateway-clients-"))
PIPELINE = """version: 1
pipeline: devices
source: {embedded: {path: log, partitions: 2}}
inputs:
  - name: telemetry
    topics: [telemetry]
    decode:
      format: json
      columns:
        time_unix_nano: timestamp_ns
        service_name: string
        severity_number: int32
        body: json
        host: {type: string, path: [resource_attributes, host.name]}
        attributes: json
  - name: readings
    topics: [readings]
    decode:
      format: json
      columns:
        time: timestamp_ns
        measurement: string
        device: {type: string, path: tags.device}
        t: {type: double, path: fields.t}
        n: {type: int64, path: fields.n}
        ok: {type: bool, path: fields.ok}
tables: [{name: telemetry, from: telemetry}, {name: readings, from: readings}]
lake: {uri: lake}
limits: {memory: 256MiB}
serve:
  listen: 127.0.0.1:%d
  auth:
    tokens: [{token: writer, scopes: ["write:telemetry", "write:readings"]}, {token: other, scopes: ["write:other"]}]
gateway:
  http:
    topics: {telemetry: {key: service_name, check: true}, readings: {key: tags.device, check: true}}
    otlp: {logs: telemetry, metrics: telemetry, traces: telemetry}
    influx: {fleet: readings}
"""
WRITER = {"Authorization": "Bearer writer"}
AT = 1_795_341_600_000_000_001
_held = 0


def claim(condition, what, details=""):
    global _held
    assert condition, f"{what}\n{details}"
    _held += 1


class Recording(requests.Session):
    """What an exporter sends, as it went out last."""

    def __init__(self, message):
        super().__init__()
        self.message, self.sent = message, None

    def request(self, *arguments, **named):
        body = named["data"]
        self.sent = self.message.FromString(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)
        return super().request(*arguments, **named)


def send_by_sdk(gateway):
    """Logs, metrics and spans by the SDK's own exporters; the requests that they made, and who is to be shut down."""
    url = f"http://127.0.0.1:{gateway.port}/v1/"
    sessions = {"logs": Recording(ExportLogsServiceRequest), "traces": Recording(ExportTraceServiceRequest), "metrics": Recording(ExportMetricsServiceRequest)}
    resource = Resource.create({"service.name": "printer", "host.name": "p7", "cores": 4})
    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(
        OTLPLogExporter(url + "logs", headers=WRITER, compression=Compression.Gzip, session=sessions["logs"])))
    logger = logs.get_logger("printing", "1.0")
    logger.emit(LogRecord(timestamp=AT, severity_number=SeverityNumber.ERROR, severity_text="ERROR", body="out of \"paper\" \u00e9",
                          attributes={"http.status": 503, "ok": False, "ratio": 0.1, "tags": ["a", "b"]}))
    logger.emit(LogRecord(timestamp=AT, body={"tray": 2, "deep": {"list": [1, None, b"\0\1"]}}, event_name="jam", trace_id=0x5B8EFFF798038103D269B633813FC60C,
                          span_id=0xEEE19B7EC3C1B174))
    claim(logs.force_flush(), "logs are exported")
    spans = TracerProvider(resource=resource)
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url + "traces", headers=WRITER, session=sessions["traces"])))
    with spans.get_tracer("printing").start_as_current_span("print", attributes={"pages": 3}) as span:
        span.add_event("paper", {"left": 0})
        span.record_exception(ValueError("jam"))
    claim(spans.force_flush(), "spans are exported")
    exporter = OTLPMetricExporter(url + "metrics", headers=WRITER, session=sessions["metrics"])
    meters = MeterProvider(metric_readers=[PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)], resource=resource)
    meter = meters.get_meter("printing")
    meter.create_counter("pages", "1", "printed").add(17, {"tray": 2})
    meter.create_up_down_counter("queue").add(-1.5)
    meter.create_histogram("latency", "ms").record(12.5)
    meter.create_gauge("toner").set(0.0)
    claim(meters.force_flush(), "metrics are exported")
    return {name: session.sent for name, session in sessions.items()}, (logs, spans, meters)


def as_json(message):
    """OTLP's JSON is protobuf's but for ids in hexadecimal and enums as numbers."""

    def with_hex_ids(value):
        if isinstance(value, dict):
            return {key: base64.b64decode(inner).hex() if key in ("traceId", "spanId", "parentSpanId") else with_hex_ids(inner)
                    for key, inner in value.items()}
        return [with_hex_ids(inner) for inner in value] if isinstance(value, list) else value

    return json.dumps(with_hex_ids(MessageToDict(message, use_integers_for_enums=True))).encode()


def opentelemetry(gateway, log):
    sent_requests, providers = send_by_sdk(gateway)
    sent = [record["payload"] for record in log()]
    events = [json.loads(payload) for payload in sent]
    claim(len(events) == 2 + 1 + 4, "an event for each log record, span and point", events)
    claim(all(event["service_name"] == "printer" and event["resource_attributes"]["cores"] == 4 for event in events), "each with its resource")
    claim(all(record["key"] == "printer" for record in log()), "the key")
    first, second = [event for event in events if "observed_time_unix_nano" in event]
    claim((first["time_unix_nano"], first["severity_number"], first["body"]) == (AT, 17, "out of \"paper\" \u00e9"), "a log record", first)
    claim(first["attributes"] == {"http.status": 503, "ok": False, "ratio": 0.1, "tags": ["a", "b"]}, "its attributes", first)
    claim(second["body"] == {"tray": 2, "deep": {"list": [1, None, "AAE="]}} and second["event_name"] == "jam", "a structured body", second)
    claim(second["trace_id"] == "5b8efff798038103d269b633813fc60c" and second["span_id"] == "eee19b7ec3c1b174", "ids", second)
    span = next(event for event in events if "parent_span_id" in event or "end_time_unix_nano" in event)
    claim(span["name"] == "print" and [event["name"] for event in span["events"]] == ["paper", "exception"], "a span", span)
    points = {event["name"]: event for event in events if "type" in event}
    claim((points["pages"]["type"], points["pages"]["value"], points["pages"]["is_monotonic"]) == ("sum", 17, True), "a counter", points)
    claim(points["queue"]["value"] == -1.5 and points["toner"]["value"] == 0, "numbers that are not whole, and zero", points)
    claim(points["latency"]["count"] == 1 and sum(points["latency"]["bucket_counts"]) == 1, "a histogram", points)

    for name, request in sent_requests.items():
        before = len(log())
        status, headers, body = gateway.ask("POST", f"/v1/{name}", as_json(request), {"Content-Type": "application/json", **WRITER})
        claim((status, json.loads(body), headers["Content-Type"]) == (200, {}, "application/json"), "answered in JSON", body)
        status, headers, body = gateway.ask("POST", f"/v1/{name}", request.SerializeToString(), {"Content-Type": "application/x-protobuf", **WRITER})
        claim((status, body, headers["Content-Type"]) == (200, b"", "application/x-protobuf"), "and in Protobuf", body)
        again = sorted(record["payload"] for record in log()[before:])
        claim(len(again) > 0 and again[::2] == again[1::2], f"{name}: JSON and Protobuf give the same events", again)
        claim(set(again) <= set(sent), f"{name}: which are those of the SDK")
        broken = request.SerializeToString()[:-1]
        status, headers, body = gateway.ask("POST", f"/v1/{name}", broken, {"Content-Type": "application/x-protobuf", **WRITER})
        claim(status == 400 and Status.FromString(body).code == 3 and "not OTLP's Protobuf" in Status.FromString(body).message, "cut off", body)

    before = len(log())
    request = sent_requests["logs"]
    request.resource_logs[0].scope_logs[0].log_records[0].attributes[0].value.string_value = "x" * (1 << 20)
    status, _, body = gateway.ask("POST", "/v1/logs", gzip.compress(request.SerializeToString()),
                                  {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip", **WRITER})
    partial = ExportLogsServiceResponse.FromString(body).partial_success
    claim(status == 200 and partial.rejected_log_records == 1 and "1048576 are the most" in partial.error_message, "a partial success", partial)
    claim(len(log()) == before + 1, "and the others are there")
    logging.disable(logging.CRITICAL)
    stranger = OTLPSpanExporter(f"http://127.0.0.1:{gateway.port}/v1/traces", headers={"Authorization": "Bearer other"})
    claim(stranger.export([]) == SpanExportResult.FAILURE, "an exporter without the right token gives up")
    logging.disable(logging.NOTSET)
    for provider in providers:
        provider.shutdown()  # Which tells of the metrics once more.
    return len(log())


def influx(gateway, log):
    url = f"http://127.0.0.1:{gateway.port}"
    when = datetime.datetime(2026, 11, 29, 10, 0, 0, 123456, tzinfo=datetime.timezone.utc)
    points = [Point("weather").tag("device", f"d {i},=\u00e9").field("t", 20 + i / 10).field("n", i).field("ok", i % 2 == 0).field("s", f'a "{i}" \\ \n b').time(when)
              for i in range(100)]
    for zipped in (False, True):
        with InfluxDBClient(url, token="writer", org="any", enable_gzip=zipped) as client:
            client.write_api(write_options=SYNCHRONOUS).write("fleet", record=points)
    there = log()
    claim(len(there) == 200, "every point, plain and as gzip", len(there))
    wanted = {"measurement": "weather", "tags": {"device": "d 7,=\u00e9"}, "fields": {"n": 7, "ok": False, "s": 'a "7" \\ \n b', "t": 20.7},
              "time": int(when.timestamp()) * 10**9 + 123_456_000}
    sevens = [json.loads(record["payload"]) for record in there if record["key"] == "d 7,=\u00e9"]
    claim(sevens == [wanted, wanted], "to the last character", sevens)
    with InfluxDBClient(url, token="writer", org="any") as client:
        writer = client.write_api(write_options=SYNCHRONOUS)
        try:
            writer.write("fleet", record="weather t=1\nweather\nweather t=2", write_precision="s")
            claim(False, "a partial write is an error")
        except (ApiException, InfluxDBError) as error:
            claim(error.status == 400 and "partial write: 1 of 3 points were not accepted: line 2: there are no fields" in error.body, "told", error.body)
        for bucket, token, status in (("other", "writer", 404), ("fleet", "other", 403), ("fleet", "who", 401)):
            with InfluxDBClient(url, token=token, org="any") as stranger:
                try:
                    stranger.write_api(write_options=SYNCHRONOUS).write(bucket, record="weather t=1")
                    claim(False, f"{status}")
                except (ApiException, InfluxDBError) as error:
                    claim(error.status == status, f"{status}", error)
    claim(len(log()) == 202, "the good lines of a bad body")
    status, _, body = gateway.ask("POST", "/write?db=fleet&precision=s", b"weather t=3 1795946400", {"Authorization": "Token writer"})
    claim((status, body) == (204, b""), "version 1", body)
    status, _, body = gateway.ask("POST", "/write?db=fleet", b'weather t="warm"', {"Authorization": "Token writer"})
    claim(status == 400 and "expected double" in json.loads(body)["message"], "what would be a dead letter is refused", body)
    return len(log())


def main():
    warnings.simplefilter("ignore")
    gateway = Gateway(BINARY, FOLDER, free_port())
    (FOLDER / "gateway.yaml").write_text(PIPELINE % gateway.port)
    gateway.start()
    log_of = lambda topic: lambda: sorted(records(READER, "embedded:" + str(FOLDER / "log"), topic), key=lambda record: record["offset"])
    telemetry, readings = opentelemetry(gateway, log_of("telemetry")), influx(gateway, log_of("readings"))
    gateway.stop()
    subprocess.run([BINARY, "run", "-c", "gateway.yaml", "--until-end"], cwd=FOLDER, check=True, timeout=120)
    rows = DeltaTable(str(FOLDER / "lake" / "telemetry")).to_pyarrow_table().to_pylist()
    claim(len(rows) == telemetry and {row["host"] for row in rows} == {"p7"} and {row["service_name"] for row in rows} == {"printer"}, "rows", rows)
    rows = DeltaTable(str(FOLDER / "lake" / "readings")).to_pyarrow_table().to_pylist()
    claim(len(rows) == readings and sum(row["n"] or 0 for row in rows) == 2 * 4950, "rows of points", len(rows))
    claim(not (FOLDER / "lake" / "devices_dead_letters").exists()
          or DeltaTable(str(FOLDER / "lake" / "devices_dead_letters")).to_pyarrow_table().num_rows == 0, "and no dead letter")
    print(f"{_held} passed, 0 failed")
    shutil.rmtree(FOLDER)


main()
