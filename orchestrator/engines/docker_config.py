"""The user's Docker configuration, looked at before the SDK reads it: it answers an odd entry with a traceback."""

import base64
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_ADVICE = "Mend or remove that entry, or name another configuration with DOCKER_CONFIG."


def config_file() -> Path:
    """`$DOCKER_CONFIG/config.json`, else that of the user's folder."""
    named = os.environ.get("DOCKER_CONFIG")
    return (Path(named) if named else Path.home() / ".docker") / "config.json"


def fault(path: Path) -> str:
    """What the SDK cannot read in this file, a sentence; '' if it is well or not there."""
    entries = _entries(path)
    for entry, what in _faults(entries):
        return f"{path}: {entry} {what}. {_ADVICE}"
    return ""


def missing_helper(path: Path) -> str:
    """The credential helper that this file names and that is not installed, a sentence; '' if none is missing."""
    entries = _entries(path)
    helpers = entries.get("credHelpers")
    named = {"credsStore": entries.get("credsStore")}
    named |= {f"credHelpers.{host}": name for host, name in helpers.items()} if isinstance(helpers, dict) else {}
    for entry, name in named.items():
        if name and shutil.which(f"docker-credential-{name}") is None:
            return (
                f"{path}: {entry} is '{name}', and there is no program docker-credential-{name}, which keeps the "
                f"passwords of registries. Install it, or remove {entry} from that file."
            )
    return ""


def _entries(path: Path) -> Mapping[str, Any]:
    """The JSON object in the file; empty if there is none, as the SDK passes that over."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _faults(entries: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("auths", "credHelpers", "proxies", "HttpHeaders"):
        if entries.get(name) is not None and not isinstance(entries[name], dict):
            yield name, f"is {json.dumps(entries[name])[:60]}; it must be an object"
            return
    for registry, auth in (entries.get("auths") or {}).items():
        if not isinstance(auth, dict):
            yield f"auths.{registry}", "is no object"
        elif "auth" in auth and "identitytoken" not in auth and not _is_login(auth["auth"]):
            yield f"auths.{registry}.auth", "is not base64 of name:password"
    for host, proxy in (entries.get("proxies") or {}).items():
        if not isinstance(proxy, dict):
            said = json.dumps(proxy)[:60]
            yield f"proxies.{host}", f'is {said}; it must be an object such as {{"httpProxy": {said}}}'
    if not isinstance(entries.get("credsStore", ""), str):
        yield "credsStore", "is no text"


def _is_login(text: Any) -> bool:
    try:
        name, colon, _ = base64.b64decode(str(text)).decode().partition(":")
    except ValueError:
        return False
    return bool(name and colon)
