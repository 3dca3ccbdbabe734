"""Goal: what share/kubernetes gives to a cluster is valid, fits together, and is what the chart makes. No cluster is asked.

Kubernetes' own schemas judge every object but ServiceMonitor, which is Prometheus' operator's. With a folder TOOLS of helm and kubeconform the
chart is linted, the plain manifests must be what it makes (`--write` makes them anew), and kubeconform judges as well.

Usage: kubernetes_test.py BINARY [TOOLS [--write]]
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import kubernetes_validate
import requests
import yaml

BINARY, TOOLS = sys.argv[1], pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
SOURCE = pathlib.Path(__file__).resolve().parents[2]
CHART = SOURCE / "share/kubernetes/millrace"
MADE = {SOURCE / "share/kubernetes/manifests/millrace.yaml": [],
        SOURCE / "tests/package/kubernetes/full.yaml": ["--values", SOURCE / "tests/package/kubernetes/full-values.yaml"]}
SCHEMAS = "1.30"
ROLES = {"worker": "StatefulSet", "serve": "Deployment"}  # Of every pipeline.
SERVICES = {"worker": "millrace-worker", "serve": "millrace", "gateway": "millrace-gateway"}

passed = 0


def claim(condition, what, details=""):
    global passed
    assert condition, f"{what}\n{details}"
    passed += 1


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def mib(text):
    return int(re.fullmatch(r"(\d+)Mi?B?", text)[1].removesuffix("i"))


def check_pod(objects, role, pipeline):
    workload = objects[ROLES.get(role, "StatefulSet"), f"millrace-{role}"]
    pod = workload["spec"]["template"]["spec"]
    container = pod["containers"][0]
    arguments = dict(word.removeprefix("--").rsplit("=", 1) for word in container["args"][1:])
    claim(arguments["role"] == role, f"{role}: its role", arguments)
    memory, given = mib(arguments["set=limits.memory"]), mib(container["resources"]["limits"]["memory"])
    claim(given >= 1.5 * memory + 110, f"{role}: room for the program beside limits.memory", (memory, given))
    claim(container["resources"]["requests"]["cpu"] == arguments["set=limits.threads"], f"{role}: a thread a processor")
    grace, timeout = pod["terminationGracePeriodSeconds"], int(pipeline["shutdown_timeout"].removesuffix("s"))
    claim(grace >= timeout + 5, f"{role}: it may end by itself, 5 s after shutdown_timeout", (grace, timeout))
    claim(container["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"], f"{role}: closed")
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim_["metadata"]["name"] for claim_ in workload["spec"].get("volumeClaimTemplates", [])}
    claim(set(mounts) == volumes, f"{role}: each volume has its place", (mounts, volumes))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for kind in ("livenessProbe", "readinessProbe"):
        probe = container[kind]["httpGet"]
        claim(ports[probe["port"]] == int(pipeline["serve"]["health"]["listen"].split(":")[1]), f"{role}: {kind} asks the door for it")
    labels = workload["spec"]["template"]["metadata"]["labels"]
    for selector in (workload["spec"]["selector"]["matchLabels"], objects["PodDisruptionBudget", f"millrace-{role}"]["spec"]["selector"]["matchLabels"],
                     objects["Service", SERVICES[role]]["spec"]["selector"]):
        claim(selector.items() <= labels.items(), f"{role}: what selects it", (selector, labels))
    for port in objects["Service", SERVICES[role]]["spec"]["ports"]:
        claim(port["targetPort"] in ports, f"{role}: the service's ports are the container's", (port, ports))


def check_gateway(objects, pipeline):
    """What devices need, and nobody else has."""
    workload = objects["StatefulSet", "millrace-gateway"]["spec"]
    container = workload["template"]["spec"]["containers"][0]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    claim(pipeline["gateway"]["state"].startswith(mounts["state"] + "/"), "gateway: its state is on its volume", mounts)
    claim([volume["metadata"]["name"] for volume in workload["volumeClaimTemplates"]] == ["state"], "gateway: which outlives it")
    policy = objects["NetworkPolicy", "millrace-gateway"]["spec"]
    claim(policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway", "gateway: its network policy")
    ports = {port["name"] for port in container["ports"]}
    claim({port["port"] for port in policy["ingress"][0]["ports"]} == ports - {"health"}, "gateway: all its doors but health are open", policy)
    kept = {mount["mountPath"] for mount in container["volumeMounts"] if mount.get("readOnly")}
    secrets = re.findall(r"\$\{file:([^}]+)\}", yaml.safe_dump(pipeline["serve"]))
    claim(len(secrets) == 3 and all(str(pathlib.PurePath(path).parent) in kept for path in secrets), "gateway: its secrets are files", secrets)


def here(text, folder):
    """The pipeline, but for what is not here: Kafka, the bucket, the secrets, the ports."""
    pipeline = yaml.safe_load(text)
    pipeline["source"] = {"embedded": {"path": f"{folder}/log", "partitions": 1}, "topics": pipeline["source"]["topics"]}
    pipeline["lake"] = {"uri": f"{folder}/lake"}
    pipeline["serve"].update(internal_token="token", listen="0.0.0.0:0", health={"listen": "0.0.0.0:0"})
    pipeline["serve"].pop("auth", None)
    if "gateway" in pipeline:
        pipeline["gateway"]["state"] = f"{folder}/state"
    (pathlib.Path(folder) / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))


def gateway_starts(container, text):
    with tempfile.TemporaryDirectory() as folder:
        here(text, folder)
        words = [word.replace("/etc/millrace", folder) for word in container["args"]]
        with subprocess.Popen([BINARY, *words], stderr=subprocess.PIPE, text=True) as process:
            try:
                urls = []  # The door, and the one for health.
                while len(urls) < 2:
                    line = process.stderr.readline()
                    claim(line, "the gateway starts", urls)
                    urls += [url.replace("0.0.0.0", "127.0.0.1") for url in re.findall(r"http://0\.0\.0\.0:\d+", line)]
                deadline = time.monotonic() + 180
                while requests.get(urls[1] + container["readinessProbe"]["httpGet"]["path"], timeout=60).status_code != 200:
                    claim(time.monotonic() < deadline, "the gateway is ready")
                    time.sleep(0.05)
                answer = requests.post(urls[0] + "/v1/events/clicks", json={"event_id": "e"}, timeout=60)
                claim(answer.json()["accepted"] == 1, "the gateway's command takes an event, and its probe is answered", answer.text)
            finally:
                process.terminate()
        claim((pathlib.Path(folder) / "state").exists(), "its state is where the pipeline says")


def starts(container, text):
    """The container's own arguments."""
    with tempfile.TemporaryDirectory() as folder:
        here(text, folder)
        run(BINARY, *[word.replace("/etc/millrace", folder) for word in container["args"]], "--until-end")
        claim((pathlib.Path(folder) / "lake").exists(), "the worker's command runs")


def check(path):
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    for document in documents:
        if document["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        kubernetes_validate.validate(document, SCHEMAS, strict=True)
        claim(True, f"{path.name}: {document['kind']} by Kubernetes' schema")
    objects = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    claim(len(objects) == len(documents), f"{path.name}: no name twice")
    text = objects["ConfigMap", "millrace"]["data"]["pipeline.yaml"]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        run(BINARY, "validate", "--no-environment", file.name)
    pipeline = yaml.safe_load(text)
    workers = objects["Service", "millrace-worker"]
    dns = pipeline["serve"]["workers"]["dns"]
    claim(dns.split(".")[0] == workers["metadata"]["name"] and workers["spec"]["clusterIP"] == "None",
          "the name that stands for all workers is that of a service without an address of its own", dns)
    claim(pipeline["serve"]["workers"]["port"] in [port["port"] for port in workers["spec"]["ports"]], "and its port")
    for role in ROLES:
        check_pod(objects, role, pipeline)
    claim(("gateway" in pipeline) == (("StatefulSet", "millrace-gateway") in objects), "gateways where the pipeline has one")
    if "gateway" in pipeline:
        check_pod(objects, "gateway", pipeline)
        check_gateway(objects, pipeline)
        gateway_starts(objects["StatefulSet", "millrace-gateway"]["spec"]["template"]["spec"]["containers"][0], text)
    starts(objects["StatefulSet", "millrace-worker"]["spec"]["template"]["spec"]["containers"][0], text)
    return {kind for kind, _ in objects}


def kubeconform(path):
    """By the schemas that the other judge brings along: nothing is fetched."""
    strict = pathlib.Path(kubernetes_validate.__file__).parent / f"kubernetes-json-schema/v{SCHEMAS}.0-local-strict"
    with tempfile.TemporaryDirectory() as folder:
        for file in strict.glob("*.json"):
            schema = json.loads(file.read_text().replace('"/api/_definitions.json', '"_definitions.json'))
            schema.pop("$id", None)  # Relative to which kubeconform would fetch the definitions.
            (pathlib.Path(folder) / file.name).write_text(json.dumps(schema))
        said = run(TOOLS / "kubeconform", "-strict", "-summary", "-skip", "ServiceMonitor",
                   "-schema-location", folder + "/{{.ResourceKind}}{{.KindSuffix}}.json", path)
        claim("Invalid: 0, Errors: 0" in said and "Valid: 0" not in said, f"{path.name}: kubeconform", said)


def main():
    for path, values in MADE.items():
        if TOOLS:
            made = run(TOOLS / "helm", "template", "millrace", CHART, "--namespace", "default", "--kube-version", SCHEMAS, *values)
            if "--write" in sys.argv:
                path.write_text(made)
            claim(made == path.read_text(), f"{path.name} is what the chart makes; --write makes it anew")
            run(TOOLS / "helm", "lint", "--strict", CHART, *values)
            kubeconform(path)
        kinds = check(path)
    claim({"HorizontalPodAutoscaler", "ServiceMonitor", "NetworkPolicy"} <= kinds, "all that can be switched on is in the last", kinds)
    print(f"{passed} passed, 0 failed")


main()
