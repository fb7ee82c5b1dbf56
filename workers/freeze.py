"""Lists what is installed: python -m workers.freeze FOLDER writes FOLDER/freeze.json; needs no pip and no network."""

import json
import os
import platform
import re
import sys


def installed(folders):
    """Sorted 'name==version' of the distributions in `folders`; of two with one name the first found counts."""
    versions = {}
    for folder in folders:
        for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            for metadata in ("METADATA", "PKG-INFO", ""):
                path = os.path.join(folder, entry, metadata).rstrip(os.sep)
                if entry.endswith((".dist-info", ".egg-info")) and os.path.isfile(path):
                    name, version = _name_and_version(path)
                    versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
                    break
    return [f"{name}=={versions[name]}" for name in sorted(versions)]


def _name_and_version(path):
    fields = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.strip():  # the description follows, and may hold anything
                break
            key, _, value = line.partition(":")
            fields.setdefault(key, value.strip())
    return fields["Name"], fields["Version"]


def main(arguments):
    """Write freeze.json: {"python": "3.11.7", "freeze": ["name==version", ...]}."""
    facts = {"python": platform.python_version(), "freeze": installed(sys.path)}
    with open(os.path.join(arguments[0], "freeze.json"), "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
