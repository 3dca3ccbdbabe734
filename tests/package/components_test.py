"""Goal: nothing is linked that `make dist` would refuse to ship: each part has a licence in packaging/components.json, and its text is there.

Usage: components_test.py BUILD_FOLDER
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "packaging"))
import sbom  # noqa: E402
from libraries import Bundle  # noqa: E402
from release import Release  # noqa: E402

os.environ.setdefault("SOURCE_DATE_EPOCH", "0")  # Of no interest here; a source folder need not be a repository.
release = Release.of(pathlib.Path(sys.argv[1]).resolve())
components = sbom.components(release, Bundle.of(release.program, release, everything=True))
assert len(components) > 30, components
for component in components:
    assert component.license and component.texts, component
    assert all(text.exists() for text in component.texts), component
print(f"{len(components)} passed, 0 failed")
