"""A stream of server-sent events, read as it comes."""
import http.client
import json
import queue
import threading
import time
import urllib.parse


class EventStream:
    """`GET path?parameters` of a server on loopback. Events, as (name, data, when), are read by a thread of its own."""

    def __init__(self, port, path, parameters, headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.request("GET", path + "?" + urllib.parse.urlencode(parameters), headers=headers or {})
        response = self.connection.getresponse()
        self.status, self.headers = response.status, response.headers
        self.problem = None if self.status == 200 else json.loads(response.read())
        self.events = queue.Queue()
        self.ended = threading.Event()
        if self.status == 200:
            threading.Thread(target=self._read, args=(response,), daemon=True).start()

    def _read(self, response):
        event = {}
        try:
            while line := response.readline().decode():
                if line == "\n":
                    if event:
                        self.events.put((event["event"], json.loads(event["data"]), time.time()))
                    event = {}
                elif not line.startswith(":"):
                    name, value = line.rstrip("\n").split(": ", 1)
                    event[name] = value
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            pass  # Closed, by either end.
        self.ended.set()

    def next(self, name=None, seconds=120):
        """The next event, of this name: others are passed over. Fails when none comes."""
        deadline = time.monotonic() + seconds
        while True:
            event = self.events.get(timeout=max(0.001, deadline - time.monotonic()))
            if name is None or event[0] == name:
                return event

    def until(self, enough, seconds=180):
        """All that comes until enough(what has come). Fails when that does not come."""
        deadline, events = time.monotonic() + seconds, []
        while not enough(events):
            events.append(self.events.get(timeout=max(0.001, deadline - time.monotonic())))
        return events

    def until_quiet(self, seconds=2):
        """All that comes until nothing has for so long."""
        events = []
        try:
            while True:
                events.append(self.events.get(timeout=seconds))
        except queue.Empty:
            return events

    def close(self):
        if self.connection.sock is not None:
            self.connection.sock.close()
        self.connection.close()
