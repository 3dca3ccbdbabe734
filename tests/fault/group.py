"""Workers that share a topic, and processes that only answer: each answers for all of them."""

import json

import events
import harness
from harness import wait_for


def pipeline(*, workers, postgres=None, **settings):
    door = f', postgres: "127.0.0.1:{postgres}"' if postgres else ""
    serve = f'serve: {{listen: "127.0.0.1:{settings["port"]}"{door}, workers: {json.dumps(workers)}}}'
    lines = events.pipeline_yaml(**settings).splitlines()
    return "\n".join(serve if line.startswith("serve:") else line for line in lines) + "\n"


class Group:
    """Workers of a case, each at a place whose addresses stay, and one process that only answers: `node`. `roles`: of each place;
    the first `started` of them are started; None: all. `settings`: of the pipeline."""

    def __init__(self, case, partitions, roles, *, started=None, seed=7, keeps_records=False, **settings):
        self.case, self.partitions, self.roles = case, partitions, roles
        case.broker.create_topic(case.topic, partitions)
        case.feeder = harness.Feeder(case.broker.address, case.topic, seed, partitions, name=f"p{seed}", keeps_records=keeps_records)
        self.ports = [harness.free_port() for _ in roles]
        self.postgres = [harness.free_port() for _ in roles]
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        self.settings = {"pipeline": pipeline, "workers": self.urls, "commit_bytes": "1GiB", **settings}
        self.node_ports = {"port": harness.free_port(), "postgres": harness.free_port()}
        self.workers = [None] * len(roles)
        self.paused = set()  # Workers that are stopped by SIGSTOP.
        for place in range(len(roles) if started is None else started):
            self.start(place)
        self.node = None
        self.start_node()
        self.wait_until_shared_out()
        self.wait_until_node_is_ready()

    def start(self, place):
        self.workers[place] = self.case.run("--role", self.roles[place], port=self.ports[place], postgres=self.postgres[place],
                                            **self.settings)
        self.workers[place].postgres = self.postgres[place]

    def start_node(self):
        self.node = self.case.run("--role", "serve", **{**self.settings, **self.node_ports})
        self.node.postgres = self.node_ports["postgres"]

    def running(self):
        return [worker for worker in self.workers if worker is not None and worker.alive() and worker not in self.paused]

    def is_shared_out(self):
        """Each worker has partitions, and each partition a worker. One that is only asked by others does not say which."""
        if any((worker.get("/readyz") or [0])[0] != 200 for worker in self.running()):
            return False
        told = [worker for worker in self.running() if self.roles[self.workers.index(worker)] == "all"]
        owned = [worker.partitions() for worker in told]
        shared = sorted(sum(owned, []))
        others = len(self.running()) - len(told)
        return all(owned) and len(shared) == len(set(shared)) and (
            len(shared) == self.partitions if others == 0 else len(shared) + others <= self.partitions)

    def wait_until_shared_out(self, timeout_s=120):
        wait_for(self.is_shared_out, "each worker to have partitions, and each partition a worker", timeout_s, every_s=0.2)

    def wait_until_node_is_ready(self, timeout_s=60):
        wait_for(lambda: (self.node.get("/readyz") or [0])[0] == 200, "the node to be ready", timeout_s)

    def total(self, process, **parameters):
        question = "&".join(f"{name}={value}" for name, value in {"step": "0", "group_by": "", **parameters}.items())
        got = process.get(f"/v1/aggregates/views_1m?{question}")
        return got[1] if got and got[0] == 200 else None

    def covers_all(self, process):
        answer = self.total(process)
        offsets = (answer or {"as_of": {"offsets": {}}})["as_of"]["offsets"].get(self.case.topic, {})
        return answer if sum(offsets.values()) == self.case.feeder.sent else None
