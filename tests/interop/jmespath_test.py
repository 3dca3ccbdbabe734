"""Our JMESPath against the reference implementation (PyPI's jmespath): random expressions over random documents.

Usage: jmespath_test.py PATH_OF_jmespath_search [SEED]
"""

import json
import math
import random
import subprocess
import sys

import jmespath
import jmespath.visitor

# The specification orders numbers only, and so does the implementation behind kafka-delta-ingest.
jmespath.visitor._is_comparable = jmespath.visitor._is_actual_number  # noqa: SLF001

SEARCH = sys.argv[1]
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
NAMES = ["a", "b", "c", "d"]
COUNT = 20_000
SKIPPED = object()
chance = random.Random(SEED)


def document(depth=0):
    kind = chance.randrange(9 if depth < 4 else 6)
    if kind == 0:
        return None
    if kind == 1:
        return chance.choice([True, False])
    if kind == 2:
        return chance.randrange(-5, 6)
    if kind == 3:
        return chance.choice([0.5, -1.25, 2.0, chance.random()])
    if kind in (4, 5):
        return chance.choice(["", "a", "b", "ab", "abba", "5", "1.5", "-3"])
    if kind == 6:
        return [document(depth + 1) for _ in range(chance.randrange(5))]
    # We walk objects by their keys' order, the reference by that of the text.
    return {name: document(depth + 1) for name in sorted(chance.sample(NAMES, chance.randrange(1, 5)))}


def number():
    return chance.choice(["", str(chance.randrange(-4, 5))])


def slice_():
    step = chance.choice(["", ":", f":{chance.choice([-3, -2, -1, 1, 2, 3])}"])
    return f"[{number()}:{number()}{step}]"


def literal():
    if chance.random() < 0.5:
        return chance.choice(["'a'", "'ab'", "''", "'b'"])
    return f"`{json.dumps(document(3))}`"


def step(depth):
    return chance.choice([
        lambda: "." + chance.choice(NAMES),
        lambda: "." + chance.choice(NAMES),
        lambda: f"[{chance.randrange(-3, 4)}]",
        slice_,
        lambda: "[*]",
        lambda: "[]",
        lambda: ".*",
        lambda: f"[?{expression(depth + 1)}]",
        lambda: f".[{expression(depth + 1)}, {expression(depth + 1)}]",
        lambda: f".{{x: {expression(depth + 1)}, y: {expression(depth + 1)}}}",
        lambda: f" | {expression(depth + 1)}",
    ])()


def call(depth):
    def of():
        return expression(depth + 1)

    def by():
        return "&" + expression(depth + 2)
    return chance.choice([
        lambda: f"abs({of()})", lambda: f"avg({of()})", lambda: f"ceil({of()})", lambda: f"floor({of()})",
        lambda: f"sum({of()})", lambda: f"contains({of()}, {of()})", lambda: f"starts_with({of()}, {of()})",
        lambda: f"ends_with({of()}, {of()})", lambda: f"join({of()}, {of()})", lambda: f"keys({of()})",
        lambda: f"values({of()})", lambda: f"length({of()})", lambda: f"map({by()}, {of()})", lambda: f"max({of()})",
        lambda: f"min({of()})", lambda: f"max_by({of()}, {by()})", lambda: f"min_by({of()}, {by()})",
        lambda: f"merge({{x: {of()}}}, {{x: {of()}, y: a}})", lambda: f"not_null({of()}, {of()})", lambda: f"reverse({of()})",
        lambda: f"sort({of()})", lambda: f"sort_by({of()}, {by()})", lambda: f"to_array({of()})",
        lambda: f"to_number({of()})", lambda: f"to_string({of()})", lambda: f"type({of()})",
    ])()


# The reference takes a slice behind an index, and a step behind that behind .*, for no part of the projection; the
# specification and other implementations do, and so do we.
def steps(depth, begin):
    path = begin
    for _ in range(chance.randrange(3)):
        taken = step(depth)
        if ".*" in path:
            break
        if path.endswith(("]", ")")) and ":" in taken:
            continue
        path += taken
    return path


def expression(depth=0):
    kind = chance.randrange(12 if depth < 4 else 4)
    if kind < 3:
        begin = chance.choice([*NAMES, "@", "[*]", "*", slice_()])
    elif kind == 3:
        begin = literal()
    elif kind < 6:
        begin = call(depth)
    elif kind == 6:
        begin = "!" + expression(depth + 1)
    elif kind == 7:
        begin = f"({expression(depth + 1)})"
    elif kind == 8:
        begin = f"{expression(depth + 1)} {chance.choice(['==', '!=', '<', '<=', '>', '>='])} {expression(depth + 1)}"
    elif kind == 9:
        begin = f"{expression(depth + 1)} {chance.choice(['&&', '||'])} {expression(depth + 1)}"
    else:
        begin = chance.choice(NAMES)
    return steps(depth, begin)


def theirs(expression, document):
    """SKIPPED: it looks for what is no string in a string, at which Python itself fails."""
    try:
        return jmespath.search(expression, document)
    except TypeError:
        return SKIPPED
    except (jmespath.exceptions.JMESPathError, ZeroDivisionError) as error:
        return f"error: {error}"


def equal(ours, reference):
    if isinstance(ours, bool) or isinstance(reference, bool):
        return ours is reference
    if isinstance(ours, (int, float)) and isinstance(reference, (int, float)):
        return math.isclose(ours, reference, rel_tol=1e-15)
    if isinstance(ours, list) and isinstance(reference, list):
        return len(ours) == len(reference) and all(map(equal, ours, reference))
    if isinstance(ours, dict) and isinstance(reference, dict):
        return ours.keys() == reference.keys() and all(equal(ours[key], reference[key]) for key in ours)
    return ours == reference


def main():
    questions = [(expression(), document()) for _ in range(COUNT)]
    lines = "\n".join(json.dumps(question, ensure_ascii=False) for question in questions)
    answers = subprocess.run([SEARCH], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(answers) == COUNT, f"{len(answers)} answers of {COUNT}"
    gave = errors = 0
    for (asked, about), answer in zip(questions, answers):
        reference = theirs(asked, about)
        if reference is SKIPPED:
            continue
        failed = isinstance(reference, str) and reference.startswith("error: ")
        same = answer.startswith("error: ") if failed else not answer.startswith("error: ") and equal(json.loads(answer), reference)
        assert same, f"seed {SEED}: {asked}\nof {json.dumps(about)}\nours:   {answer}\ntheirs: {reference!r}"
        gave += reference is not None and not failed
        errors += failed
    print(f"{COUNT} expressions, {gave} give something, {errors} are refused by both")
    assert gave > COUNT // 10 and errors > COUNT // 100, "too few of a kind to mean something"


main()
