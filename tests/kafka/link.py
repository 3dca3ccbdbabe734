"""A link between clients and a Kafka broker, over which a test sees, delays and changes what goes."""

import socket
import threading

from ports import free_port  # on the path by broker


def put_behind(broker):
    """Gives a broker that has not started a listener for a link; (the port for the link's target, the port that clients are told)."""
    inner, outer = free_port(), free_port()
    broker.extra_config.update({
        "listeners": f"PLAINTEXT://127.0.0.1:{broker.port},LINK://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{broker.controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker.port},LINK://127.0.0.1:{outer}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,LINK:PLAINTEXT,CONTROLLER:PLAINTEXT",
    })
    return inner, outer


class Link:
    """Forwards between its own port and another.

    `ways()`, of each kind of link: two functions (source, sink) for a new connection, from the client and from the broker. Each runs on a
    thread of its own until its source has ended; with it, or with an OSError, the connection ends.
    """

    def __init__(self, port, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                broker = socket.create_connection(("127.0.0.1", self.target), timeout=30)
            except OSError:
                client.close()
                continue
            broker.settimeout(None)
            from_client, from_broker = self.ways()
            threading.Thread(target=self._forward, args=(from_client, client, broker), daemon=True).start()
            threading.Thread(target=self._forward, args=(from_broker, broker, client), daemon=True).start()

    @staticmethod
    def _forward(way, source, sink):
        try:
            way(source, sink)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
