"""Parses the flags of a verb; each mistake is one sentence with the flag, what was seen and what is allowed."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.environment import Device
from orchestrator.errors import SpecError, shortened
from orchestrator.home import REPOSITORY, Home, default_reports, expanded
from orchestrator.networks import InputSize
from orchestrator.planning.image_row import ImageRow
from orchestrator.records.run_folder import MOST_SHARDS, Until
from orchestrator.trial import SubjectPair

LEAST_GIB = 0.25
"""Of memory that a training may be held to."""


def device(text: str) -> Device:
    """cpu or gpu."""
    if text not in ("cpu", "gpu"):
        raise SpecError(f"--device is '{text}'; it is cpu or gpu.")
    return "gpu" if text == "gpu" else "cpu"


def gpus(text: str) -> tuple[int, ...]:
    """Cards by their number: '0,1' -> (0, 1)."""
    given = names(text)
    are_numbers = all(_is_number(part) for part in given)
    if not are_numbers or len(set(given)) < len(given):
        raise SpecError(
            f"--gpus is '{shortened(text)}'; it takes the numbers of cards as nvidia-smi prints them, such as 0,1."
        )
    return tuple(map(int, given))


def _is_number(text: str) -> bool:
    """Decimal digits, few enough for an int."""
    return text.isascii() and text.isdecimal() and len(text) <= 9


def path(text: str) -> Path | None:
    """The path, its ~ expanded; None for ''."""
    return expanded(text) if text else None


def spec(text: str, default: str) -> Path:
    """A spec's file; `default` of experiments/ for ''.

    One of the clone is found from any folder; the id of a run stands for the spec beside its report.
    """
    if not text:
        return REPOSITORY / "experiments" / default
    here = expanded(text)
    reported = (default_reports() / text, Home.default().published / text / "rendered")
    elsewhere = (REPOSITORY / text, *(folder / "spec.json" for folder in reported if Path(text).name == text))
    return here if here.exists() else next((path for path in elsewhere if path.is_file()), here)


def new_file(flag: str, text: str) -> Path | None:
    """A file to be written, in a folder that exists; None for ''. What is there already is not written over."""
    if not text:
        return None
    path_ = expanded(text)
    if path_.exists():
        raise SpecError(f"{flag} is {text}, which exists; name a new file.")
    if not path_.parent.is_dir():
        raise SpecError(f"{flag} is {text}; there is no folder {path_.parent}.")
    return path_


def names(text: str) -> tuple[str, ...]:
    """'a, b' -> ('a', 'b')."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def sizes(text: str) -> tuple[InputSize, ...]:
    """Input sizes: '32,1x28x28'; without repeats."""
    try:
        given = tuple(dict.fromkeys(map(InputSize.named, names(text))))
    except ValueError:
        given = ()
    if not given:
        raise SpecError(
            f"--sizes is '{shortened(text)}'; it takes sides in pixels, or channels x height x width, separated by "
            "commas, for example 32,48 or 1x28x28."
        )
    return given


def size(text: str) -> InputSize | None:
    """One input size: '32' or '1x28x28'; None for ''."""
    try:
        return InputSize.named(text) if text else None
    except ValueError as error:
        raise SpecError(f"--size is '{shortened(text)}': {error}.") from None


def network_name(text: str) -> str:
    """The name of a network of one's own; '' for none."""
    return _name("--as", text) if text else ""


def dataset_name(flag: str, text: str) -> str:
    """The name of a data set; '' for none."""
    return _name(flag, text) if text else ""


def _name(flag: str, text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", text):
        raise SpecError(
            f"{flag} is '{shortened(text)}'; a name is of lower-case letters, digits and '_', begins with a letter and "
            "has at most 40 characters."
        )
    return text


def shard(text: str) -> tuple[int, int] | None:
    """'2/4' -> (2, 4); None for ''."""
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text, re.ASCII)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count <= MOST_SHARDS:
        raise SpecError(
            f"--shard is '{shortened(text)}'; it takes the number of a shard and how many there are, for example 2/4; "
            f"at most {MOST_SHARDS} of them."
        )
    return number, count


def seeds(text: str) -> tuple[int, ...]:
    """Seeds of the first weights and the order of the pictures: '0,1' -> (0, 1); () for ''."""
    if not text:
        return ()
    given = names(text)
    if not given or not all(map(_is_number, given)) or len(set(given)) < len(given):
        raise SpecError(f"--seeds is '{shortened(text)}'; it takes whole numbers, each once, for example 0,1,2.")
    return tuple(map(int, given))


@dataclass(frozen=True)
class Rows:
    """Which rows of the catalogue to use; of a framework in `variants` only the named variants."""

    frameworks: tuple[str, ...]
    device: Device
    variants: Mapping[str, Sequence[str]]


def rows(frameworks: str, device_: str, given: Sequence[str] | None) -> Rows:
    """--frameworks, --device and --variant together."""
    return Rows(names(frameworks), device(device_), variants(given))


def variants(given: Sequence[str] | None) -> dict[str, list[str]]:
    """'mxnet=1.5' 'mxnet=1.5-mkl' -> {'mxnet': ['1.5', '1.5-mkl']}."""
    tags: dict[str, list[str]] = {}
    for text in given or ():
        framework, sign, tag = text.partition("=")
        if not (framework and sign and tag):
            raise SpecError(f"--variant is '{text}'; write framework=variant, for example mxnet=1.5-mkl.")
        tags.setdefault(framework, []).append(tag)
    return tags


def variant_of(row: ImageRow) -> str:
    """'mxnet=image-0a1b2c': the --variant that selects that row."""
    return f"{row.framework}={row.variant}"


def own_subjects(given: SubjectPair, own: Sequence[ImageRow]) -> SubjectPair:
    """'mxnet:image' -> 'mxnet:image-0a1b2c', the subject of the user's own image; others as they are."""
    subjects = {f"{row.framework}:image": row.subject for row in own}
    baseline, candidate = given
    return subjects.get(baseline, baseline), subjects.get(candidate, candidate)


def images(given: Sequence[str] | None) -> dict[str, str]:
    """'mxnet=registry/name@sha256:...' -> {'mxnet': 'registry/name@sha256:...'}."""
    values = {}
    for text in given or ():
        framework, sign, name = text.partition("=")
        if not (framework and sign and name):
            raise SpecError(f"--image is '{text}'; write framework=image, for example mxnet=my/mxnet:tuned.")
        values[framework] = name
    return values


def compared(baseline: str, candidate: str) -> tuple[str, list[str]]:
    """'mxnet:1.5' and 'mxnet:1.5-mkl' -> ('mxnet', ['1.5', '1.5-mkl']); one variant, if both are the same."""
    split = [subject(text, "neither a run on record nor") for text in (baseline, candidate)]
    if split[0][0] != split[1][0]:
        raise SpecError(
            f"{baseline} and {candidate} are two frameworks; `compare` is for builds of one. Which framework is faster "
            f"tells: invoke sweep --spec=experiments/rank.json --frameworks={split[0][0]},{split[1][0]}"
            f"{''.join(f' --variant={name}={tag}' for name, tag in split)}"
        )
    return split[0][0], list(dict.fromkeys(tag for _, tag in split))


def subject(text: str, what: str = "not") -> tuple[str, str]:
    """'mxnet:1.5-mkl' -> ('mxnet', '1.5-mkl'). what: how a sentence about a mistake goes on after 'is'."""
    framework, sign, tag = text.partition(":")
    if not (framework and sign and tag):
        raise SpecError(f"'{text}' is {what} framework:variant, for example mxnet:1.5-mkl.")
    return framework, tag


def number(flag: str, text: str) -> int | None:
    """A whole number of at least 1; None for ''."""
    if not text:
        return None
    if not (_is_number(text) and int(text) > 0):
        raise SpecError(f"{flag} is '{shortened(text)}'; it takes a whole number of at least 1.")
    return int(text)


def pairs(text: str) -> int | None:
    """'auto' -> None; else a whole number of at least 1."""
    if not text:
        raise SpecError("--pairs is ''; it takes auto, or a whole number of at least 1.")
    return None if text == "auto" else number("--pairs", text)


def until(precision: str, budget: str) -> Until:
    """--precision and --budget together."""
    return Until(precision=share("--precision", precision), budget_seconds=duration("--budget", budget))


def margin(text: str) -> float:
    """How much slower a candidate may be: '3%' -> 0.03."""
    return share("--allow", text)


def rate(flag: str, text: str) -> float:
    """Frames a second: '30' -> 30.0."""
    if not re.fullmatch(r"\d{1,3}(\.\d{1,3})?", text, re.ASCII) or float(text) == 0:
        raise SpecError(f"{flag} is '{shortened(text)}'; it takes frames a second, more than 0 and below 1000.")
    return float(text)


def region(text: str) -> tuple[int, int, int, int] | None:
    """'10,20,64,48' -> left, top, width, height in pixels; None for ''."""
    if not text:
        return None
    given = names(text)
    if len(given) != 4 or not all(map(_is_number, given)) or 0 in map(int, given[2:]):
        raise SpecError(
            f"--roi is '{shortened(text)}'; it takes left,top,width,height in pixels, such as 300,100,120,120."
        )
    left, top, width, height = map(int, given)
    return left, top, width, height


def share(flag: str, text: str) -> float:
    """'3%' -> 0.03."""
    match = re.fullmatch(r"(\d{1,2}(?:\.\d{1,6})?) ?%", text, re.ASCII)
    if not match or (float(match[1]) == 0 and flag == "--precision"):
        raise SpecError(f"{flag} is '{shortened(text)}'; it takes per cent below 100, for example 3%.")
    return float(match[1]) / 100


def duration(flag: str, text: str) -> float | None:
    """'20m' -> 1200.0 seconds; None for ''."""
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,5}(?:\.\d{1,3})?)(s|m|h)", text, re.ASCII)
    if not match or float(match[1]) == 0:
        raise SpecError(f"{flag} is '{shortened(text)}'; it takes seconds, minutes or hours: 90s, 20m, 1.5h.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def gib(flag: str, text: str) -> float | None:
    """Memory: '4' or '0.5' -> that many GiB; None for ''."""
    if not text:
        return None
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text, re.ASCII) or float(text) < LEAST_GIB:
        raise SpecError(f"{flag} is '{shortened(text)}'; it takes GiB, at least {LEAST_GIB}, for example 4.")
    return float(text)


def confirmed(question: str) -> bool:
    """Whether the user says yes. Raises SpecError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise SpecError(f"{question} Nobody can be asked here; say --yes.")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def resumed(given: str | bool | None) -> str | None:
    """'latest' for a bare --resume, else the run that it names; None without it."""
    if given == "":
        raise SpecError("--resume= names no run. Write --resume for the newest, or --resume=RUN.")
    return "latest" if given is True else given or None
