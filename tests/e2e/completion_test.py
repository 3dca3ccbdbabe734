"""Goal: what shells offer and the manual page says is what the program takes: every command and flag of --help is in both, and bash,
zsh and fish, each asked itself, offer the words that fit the place.
"""
import os
import re
import shutil
import subprocess

from product import BINARY, FOLDER, claim, end, millrace

SHELLS = ("bash", "zsh", "fish")


def commands(*path):
    """(words, help) of every command, found by asking --help alone."""
    text = millrace(*path, "--help").stdout
    yield path, text
    if "\nSubcommands:\n" in text:
        for name in re.findall(r"^  (\S+)", text.split("\nSubcommands:\n")[1], re.M):
            yield from commands(*path, name)


def flags_of(help_text):
    found = []
    for line in re.findall(r"^  (-\S.*)$", help_text, re.M):
        found += line.split(" ")[0].split(",")
    return found


def ask_bash(script, words):
    ask = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _millrace; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return subprocess.run(["bash", "--norc", "-c", ask, "bash", *words], capture_output=True, text=True, check=True).stdout.split()


def ask_zsh(script, words):
    """zsh's own functions show words on a terminal; in their place, ones that print them."""
    ask = f"""compdef() {{ }}
_describe() {{ [[ $1 == -o ]] && shift; print -l -- ${{${{(P)2}}%%:*}}; }}
_files() {{ print FILES; }}
compadd() {{ shift; print -l -- "$@"; }}
source {script}; words=("$@"); CURRENT=$#words; _millrace"""
    return subprocess.run(["zsh", "-f", "-c", ask, "zsh", *words], capture_output=True, text=True, check=True).stdout.split()


def ask_fish(script, words):
    ask = f"complete -c millrace -e; source {script}; complete -C {chr(39)}{' '.join(words)}{chr(39)}"
    home = {**os.environ, "HOME": str(FOLDER), "XDG_CONFIG_HOME": str(FOLDER)}
    said = subprocess.run(["fish", "--no-config", "-c", ask], capture_output=True, text=True, check=True, env=home, cwd=FOLDER).stdout
    return [line.split("\t")[0] for line in said.splitlines()]


def completions():
    tree = list(commands())
    claim(len(tree) > 25, "--help lists the commands", [path for path, _ in tree])
    for shell, ask in zip(SHELLS, (ask_bash, ask_zsh, ask_fish)):
        assert shutil.which(shell), f"{shell} is not installed: scripts/setup test"
        script = FOLDER / f"millrace.{shell}"
        script.write_text(millrace("completion", shell).stdout)
        for path, text in tree:
            subcommands = [p[-1] for p, _ in tree if p[:-1] == path and p != path]
            if subcommands:
                claim(sorted(ask(script, ["millrace", *path, ""])) == sorted(subcommands), f"{shell}: commands below {path}")
            flags = set(flags_of(text))
            offered = set(ask(script, ["millrace", *path, "-"])) | set(ask(script, ["millrace", *path, "--"]))
            claim(flags <= offered, f"{shell}: the flags of {path}", flags - offered)
        claim(sorted(ask(script, ["millrace", "run", "--role", ""])) == ["all", "gateway", "ingest", "serve", "worker"], f"{shell}: choices of a flag")
        claim(sorted(ask(script, ["millrace", "lake", "read", "-o", ""])) == ["arrow", "csv", "ndjson", "parquet"], f"{shell}: of a short one")
        claim(ask(script, ["millrace", "simulate", ""]) == ["clickstream", "iot"], f"{shell}: choices of a positional value")
        claim("run" not in ask(script, ["millrace", "run", "--config", ""]), f"{shell}: no command where a file belongs")
    (FOLDER / "clicks.yaml").write_text("")
    claim(ask_bash(FOLDER / "millrace.bash", ["millrace", "run", "--role", "=", "w"]) == ["worker"], "bash: --role=w")
    claim("FILES" in ask_zsh(FOLDER / "millrace.zsh", ["millrace", "run", "-c", ""]), "zsh: files for a file")
    claim("clicks.yaml" in ask_fish(FOLDER / "millrace.fish", ["millrace", "run", "-c", ""]), "fish: files for a file")
    claim("not in {bash,zsh,fish}" in millrace("completion", "csh", code=2).stderr, "another shell is refused")


def manual():
    page = millrace("man").stdout
    (FOLDER / "millrace.1").write_text(page)
    plain = page.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "")
    for path, text in commands():
        if "\nSubcommands:\n" not in text:
            section = re.search(rf"^\.SS millrace {' '.join(path)}\b[\s\S]*?(?=^\.S[SH] )", plain, re.M)
            claim(section, f"the manual has millrace {' '.join(path)}")
            missing = [flag for flag in flags_of(text) if flag not in ("-h", "--help") and flag not in section[0]]
            claim(not missing, f"and its flags: {path}", missing)
    claim(".TP\n78\n" in plain and "MILLRACE_URL" in plain, "exit codes and environment")
    groff = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-rLL=120n", str(FOLDER / "millrace.1")], capture_output=True, text=True, check=False)
    claim(groff.returncode == 0 and groff.stderr == "", "and groff has nothing to say about it", groff.stderr)


completions()
manual()
end()
