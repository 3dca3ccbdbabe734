"""A link to a Kafka broker that says of heartbeats, while it is told to, that it is still loading the group: what one that has just come back says."""

import struct
import threading

import harness  # noqa: F401  (puts tests/kafka on the path)
from link import Link

JOIN_GROUP, HEARTBEAT = 11, 12
LOADING = 14  # COORDINATOR_LOAD_IN_PROGRESS


class LoadingLink(Link):
    """Forwards whole requests and answers.

    From `load()` on heartbeats are answered with LOADING, until the member has joined anew; `late` counts the heartbeats that come after that
    for the member that it was.
    """

    def __init__(self, port, target):
        self.late = 0
        self._lock = threading.Lock()
        self._is_loading, self._member = False, None
        super().__init__(port, target)

    def load(self):
        with self._lock:
            self._is_loading = True

    @property
    def is_loading(self):
        with self._lock:
            return self._is_loading

    def ways(self):
        asked = {}
        return (lambda *ends: _messages(*ends, lambda message: self._look_at_request(message, asked)),
                lambda *ends: _messages(*ends, lambda message: self._look_at_answer(message, asked)))

    def _look_at_request(self, message, asked):
        api, version, correlation = struct.unpack_from(">hhi", message)
        asked[correlation] = api, version
        if api == HEARTBEAT:
            # Header: the client's id. Body: group, generation, member.
            place = 8
            place += 2 + struct.unpack_from(">h", message, place)[0]
            place += 2 + struct.unpack_from(">h", message, place)[0] + 4
            with self._lock:
                self.late += self._member not in (None, _text(message, place))

    def _look_at_answer(self, message, asked):
        api, version = asked.pop(struct.unpack_from(">i", message)[0])
        # Both begin with the throttle time and the error, as of their versions 1 and 2.
        if api == HEARTBEAT and version >= 1:
            with self._lock:
                if self._is_loading:
                    struct.pack_into(">h", message, 8, LOADING)
        elif api == JOIN_GROUP and version >= 2 and struct.unpack_from(">h", message, 8)[0] == 0:
            place = 14  # Behind the generation: protocol, leader, member.
            for _ in range(2):
                place += 2 + struct.unpack_from(">h", message, place)[0]
            with self._lock:
                self._is_loading, self._member = False, _text(message, place)


def _messages(source, sink, look):
    stream = source.makefile("rb")
    while len(head := stream.read(4)) == 4:
        message = bytearray(stream.read(struct.unpack(">i", head)[0]))
        look(message)
        sink.sendall(head + message)


def _text(message, place):
    size = struct.unpack_from(">h", message, place)[0]
    return bytes(message[place + 2:place + 2 + size])
