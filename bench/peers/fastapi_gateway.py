"""A gateway as a careful Python engineer would write it: FastAPI on uvicorn (uvloop, httptools), an idempotent confluent-kafka producer, an
answer once each event of a request is on all in-sync replicas.

    BROKERS=127.0.0.1:9092 TOPIC=events uvicorn fastapi_gateway:app --port 8000
"""

import asyncio
import contextlib
import json
import os
import threading

from confluent_kafka import Producer
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

TOPIC = os.environ["TOPIC"]
producer = Producer({"bootstrap.servers": os.environ["BROKERS"], "enable.idempotence": True, "linger.ms": int(os.environ.get("LINGER_MS", "20")),
                     "partitioner": "murmur2_random"})
stopping = threading.Event()


def serve_reports():
    while not stopping.is_set():
        producer.poll(0.1)


@contextlib.asynccontextmanager
async def lifespan(app):
    thread = threading.Thread(target=serve_reports)
    thread.start()
    yield
    stopping.set()
    thread.join()
    producer.flush(10)


app = FastAPI(lifespan=lifespan)


@app.post("/v1/events/{topic}")
async def events(topic: str, request: Request):
    loop, done = asyncio.get_running_loop(), None
    lines = [line for line in (await request.body()).split(b"\n") if line]
    left, failed, offsets = len(lines), [], {}
    done = loop.create_future()

    def settled(error, message):
        nonlocal left
        if error is not None:
            failed.append(str(error))
        else:
            offsets.setdefault(message.partition(), []).append(message.offset())
        left -= 1
        if left == 0:
            loop.call_soon_threadsafe(done.set_result, None)

    for line in lines:
        event = json.loads(line)
        try:
            producer.produce(TOPIC, value=line, key=str(event["device_id"]), on_delivery=settled)
        except BufferError:
            return JSONResponse({"code": "backpressure"}, 429, {"Retry-After": "1"})
    await done
    if failed:
        return JSONResponse({"code": "log_unavailable", "detail": failed[0]}, 503)
    return JSONResponse({"accepted": len(lines), "offsets": {str(p): [min(o), max(o)] for p, o in offsets.items()}}, 202)
