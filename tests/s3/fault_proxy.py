#!/usr/bin/env python3
"""An HTTP proxy before an S3 server that makes faults on demand or at random. Only the standard library.

    fault_proxy.py --port P --upstream P        both on 127.0.0.1

It is told what to do on its own port, below /-proxy-/:

    PUT /-proxy-/plan    [{"fault": F, "method": "PUT", "match": "_delta_log/", "skip": 0, "times": 1}, ...]
                         the first entry that fits a request (method and a part of its target; both may be left out) makes
                         its fault, after `skip` requests that fit and then `times` times (-1: always). Replaces the plan.
    PUT /-proxy-/random  {"rate": 0.3, "seed": 7, "faults": [F, ...]}   for requests that the plan leaves alone
    PUT /-proxy-/delay   {"seconds": 0.02}   every request takes that much longer: a store that is far away
    GET /-proxy-/counts  {"forwarded": 12, "error_503": 3, ...}
    GET /-proxy-/peak    {"requests": 16}    under way at once since the last PUT of a delay, at most

The faults; those above the line never reach the server, those below do:

    error_500 error_503 error_429 error_409 error_501   a reply with that status, as S3 words it
    reset                           the connection is reset
    hang                            nothing more happens on the connection
    ----
    drop_reply                      carried out, then the connection is reset
    error_500_after                 carried out, then a reply with status 500
    land_late                       the connection is reset, and 0.3 s later the request is carried out
    truncate                        half of the reply, then a reset
    slow                            up to 0.2 s of waiting before and after
    trickle                         the reply comes at one byte a second
    hang_after                      carried out, then nothing more happens on the connection
"""
import argparse
import asyncio
import collections
import json
import random
import socket
import struct

ERRORS = {"error_500": (500, "InternalError"), "error_503": (503, "SlowDown"), "error_429": (429, "TooManyRequests"),
          "error_409": (409, "ConditionalRequestConflict"), "error_501": (501, "NotImplemented")}
RANDOM_FAULTS = ["error_500", "error_503", "error_429", "reset", "drop_reply", "error_500_after", "land_late", "truncate",
                 "slow"]


class Proxy:
    def __init__(self, upstream):
        self.upstream = upstream
        self.plan = []
        self.rate = 0.0
        self.random = random.Random(0)
        self.faults = RANDOM_FAULTS
        self.delay_s = 0.0
        self.under_way = 0
        self.peak = 0
        self.counts = collections.Counter(forwarded=0)

    def control(self, method, path, body):
        if path == "plan":
            self.plan = [{"method": "", "match": "", "skip": 0, "times": 1, **entry} for entry in json.loads(body)]
        elif path == "random":
            value = json.loads(body)
            self.rate, self.random = value["rate"], random.Random(value["seed"])
            self.faults = value.get("faults", RANDOM_FAULTS)
        elif path == "delay":
            self.delay_s, self.peak = json.loads(body)["seconds"], 0
        elif path == "peak":
            return {"requests": self.peak}
        return dict(self.counts)

    def fault_of(self, method, target):
        for entry in self.plan:
            if entry["times"] == 0 or entry["match"] not in target or entry["method"] not in ("", method):
                continue
            if entry["skip"] > 0:
                entry["skip"] -= 1
                continue
            entry["times"] -= 1
            return entry["fault"]
        return self.random.choice(self.faults) if self.random.random() < self.rate else None

    async def forward(self, head, body, method):
        """The server's reply, whole, as bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            writer.write(head + body)
            await writer.drain()
            reply = await reader.readuntil(b"\r\n\r\n")
            while reply.startswith(b"HTTP/1.1 100"):
                reply = await reader.readuntil(b"\r\n\r\n")
            headers = parse_headers(reply)
            status = int(reply.split(b" ", 2)[1])
            if method == "HEAD" or status in (204, 304):
                return reply
            if headers.get("transfer-encoding") == "chunked":
                while True:
                    line = await reader.readuntil(b"\r\n")
                    reply += line + await reader.readexactly(int(line.split(b";")[0], 16) + 2)
                    if line.startswith(b"0"):
                        return reply
            return reply + await reader.readexactly(int(headers.get("content-length", 0)))
        finally:
            writer.close()

    async def forward_later(self, head, body, method):
        await asyncio.sleep(0.3)
        self.counts["forwarded"] += 1
        await self.forward(head, body, method)

    async def serve(self, reader, writer):
        try:
            while await self.serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve_one(self, reader, writer):
        """One request; False: the connection is done."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        body = await reader.readexactly(int(parse_headers(head).get("content-length", 0)))
        if target.startswith("/-proxy-/"):
            answer = json.dumps(self.control(method, target.removeprefix("/-proxy-/"), body)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
            await writer.drain()
            return True

        fault = self.fault_of(method, target)
        if fault:
            self.counts[fault] += 1
        if fault in ERRORS:
            writer.write(error_reply(*ERRORS[fault], method))
            await writer.drain()
            return True
        if fault == "reset":
            return reset(writer)
        if fault == "hang":
            return await hang(reader)
        if fault == "land_late":
            reset(writer)
            asyncio.get_running_loop().create_task(self.forward_later(head, body, method))
            return False

        if fault == "slow":
            await asyncio.sleep(self.random.random() * 0.2)
        self.counts["forwarded"] += 1
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            await asyncio.sleep(self.delay_s)
            reply = await self.forward(head, body, method)
        finally:
            self.under_way -= 1
        if fault == "drop_reply":
            return reset(writer)
        if fault == "hang_after":
            return await hang(reader)
        if fault == "error_500_after":
            reply = error_reply(500, "InternalError", method)
        if fault == "slow":
            await asyncio.sleep(self.random.random() * 0.2)
        if fault == "truncate":
            writer.write(reply[:len(reply) // 2])
            await writer.drain()
            return reset(writer)
        if fault == "trickle":
            for byte in reply:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(1)
        writer.write(reply)
        await writer.drain()
        return True


async def hang(reader):
    await reader.read()
    return False


def reset(writer):
    """Closes so that the other side sees a reset, not an end."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


def error_reply(status, code, method):
    body = b"" if method == "HEAD" else f"<Error><Code>{code}</Code><Message>made by the proxy</Message></Error>".encode()
    return f"HTTP/1.1 {status} {code}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def parse_headers(head):
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True)
    arguments = parser.parse_args()
    proxy = Proxy(arguments.upstream)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", arguments.port, limit=1 << 20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
