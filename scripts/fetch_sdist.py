"""Fetches a source package's archive from the configured Python index, without building it.

usage: python fetch_sdist.py NAME VERSION OUTPUT

`pip download --no-binary` would build the package's metadata first, which for DuckDB means a compiler run. This asks
pip's own finder for the link instead, so that the user's index, proxy and certificate settings hold. It uses pip's
internals, which is why scripts/setup pins pip.
"""

import hashlib
import sys

from pip._internal.commands import create_command


def main() -> None:
    name, version, output = sys.argv[1:]
    command = create_command("download")
    options, _ = command.parse_args(["--no-binary", ":all:", name])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options, session)
        links = [
            candidate.link
            for candidate in finder.find_all_candidates(name)
            if str(candidate.version) == version and candidate.link.filename.endswith(".tar.gz")
        ]
        if not links:
            sys.exit(f"no source package of {name} {version} in the Python index, or it does not answer: see pip config list")
        response = session.get(links[0].url_without_fragment)
        response.raise_for_status()
    if links[0].hash and hashlib.new(links[0].hash_name, response.content).hexdigest() != links[0].hash:
        sys.exit(f"{name} {version}: the archive's hash is not the one that the index names")
    with open(output, "wb") as file:
        file.write(response.content)


main()
