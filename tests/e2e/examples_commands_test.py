"""Goal: what the first lines of an example say can be typed, one after the other, and answers something."""
import pathlib
import re
import shlex

from product import FOLDER, claim, end, millrace

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def main():
    (FOLDER / "examples").symlink_to(EXAMPLES)
    tried = 0
    for example in sorted(EXAMPLES.glob("*.yaml")):
        commands = [shlex.split(line) for line in re.findall(r"^#   millrace (.*)$", example.read_text(), re.M)]
        if "--until-end" not in sum(commands, []):  # It runs until it is stopped, or needs a broker.
            continue
        environment = {"LOG_DIR": f"log/{example.stem}", "LAKE_URI": f"lake/{example.stem}"}
        asked = 0
        for command in commands:
            command = [word.replace("embedded:log/", f"embedded:log/{example.stem}/").replace("100000", "5000") for word in command]
            done = millrace(*command, *(["--set", "log.level=warn", "--set", "serve.listen=127.0.0.1:0"] if command[0] == "run" else []), env=environment)
            if command[0] == "query":
                asked += 1
                claim(len(done.stdout.splitlines()) > 1, f"{example.name}: {shlex.join(command)} answers with rows", done.stdout)
        claim(asked > 0, f"{example.name}: a question of it is shown")
        millrace("audit", "-c", f"examples/{example.name}", env=environment)
        tried += 1
    claim(tried >= 3, "examples were tried", tried)
    end()


main()
