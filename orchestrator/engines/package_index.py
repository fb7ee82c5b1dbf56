"""Package indexes, seen from outside pip: what it found on none, whether one answers, and the words for both."""

import re
import threading
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.engines import process
from orchestrator.errors import AbsentError, EngineError
from orchestrator.planning.image_row import ImageRow

ANSWER_SECONDS = 4.0
"""How long an index may take to answer."""

_MISSING = re.compile(r"No matching distribution found for (\S+)")
_BROKEN = "after connection broken by"  # what pip warns of before each retry
_LAST_LINES = 3  # the builder adds its own to pip's last


def missing(log: Path) -> str:
    """'torch==2.13.0+cpu' if pip ended because it found that on no index; '' if it ended otherwise."""
    names = _MISSING.findall(process.tail(log, _LAST_LINES))
    return str(names[-1]) if names else ""


def silences(urls: Collection[str], seconds: float = ANSWER_SECONDS) -> dict[str, str]:
    """For each index '' if it answers, else why not; all are asked at once, so this takes no longer than `seconds`."""
    reasons = dict.fromkeys(urls, f"no answer in {seconds:g} s")

    def ask(url: str) -> None:
        reasons[url] = _silence(url, seconds)

    # Looking up a name knows no time limit, so a thread may outlive this; as a daemon it keeps no program from ending.
    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in reasons]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    return dict(reasons)


def silence(url: str) -> str:
    """`silences` of one."""
    return silences((url,))[url]


def remedy(row: ImageRow) -> str:
    """What to do when the publisher's own index of `row` does not help."""
    return (
        f"Name a mirror of it, WAYMARK_INDEX={row.framework}=URL, or add an index that has it to pip's own "
        "configuration; for a virtualenv a folder of pip's find-links that holds the wheel will do "
        "(docs/environments.md)."
    )


def shortage(row: ImageRow, name: str, log: Path, is_index_free: bool = False) -> EngineError | None:
    """The error of an environment for which pip found no `name`; None where the log alone can tell.

    is_index_free: whether pip was told to ask no index at all.
    AbsentError where it is this machine's network that is missing.
    """
    whole_log = f"The whole log is {log}."
    if is_index_free:
        return AbsentError(
            f"{row.label}: pip is told to ask no index (no-index), and its find-links hold no {name}. "
            f"Put that file into a folder of its find-links, or let pip ask an index. {whole_log}"
        )
    if row.index:
        why = silence(row.index)
        ended = f"does not answer ({why})" if why else "did not give it either"
        kind = AbsentError if why else EngineError
        return kind(
            f"{row.label}: pip found no {name} on your own indexes, and its publisher's, {shown(row.index)}, {ended}. "
            f"{remedy(row)} {whole_log}"
        )
    if _BROKEN in process.tail(log):
        return AbsentError(
            f"{row.label}: pip found no {name}, for an index that it asks could not be reached. Connect, or see "
            f'"Without a network" in docs/environments.md. {whole_log}'
        )
    return None


def shown(url: str) -> str:
    """`url` without the user and password that it may hold."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _silence(url: str, seconds: float) -> str:
    import requests  # seldom needed, and slow to import

    try:
        with requests.get(f"{url.rstrip('/')}/", timeout=seconds, stream=True) as answer:
            return "" if answer.ok else f"it says {answer.status_code} {answer.reason}".rstrip()
    except requests.Timeout:
        return f"no answer in {seconds:g} s"
    except requests.exceptions.SSLError:
        return "its certificate is not trusted"
    except requests.ConnectionError:
        return "no connection"
    except requests.RequestException as error:
        return f"no usable answer: {type(error).__name__}"
