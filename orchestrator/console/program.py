"""The command line around the verbs: what is said of a wrong one, the list of verbs, and the program `waymark`.

`invoke VERB` is Invoke's program, which reads tasks.py in the clone. `take_over` gives it our words and exit codes as
soon as it has read that file; `waymark VERB` is the same program with the same verbs, from any folder.
"""

import importlib.util
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from invoke.collection import Collection
from invoke.exceptions import Exit, ParseError
from invoke.parser.parser import ParseMachine
from invoke.program import Program

from orchestrator.console.verb import reader_gone
from orchestrator.errors import SpecError, did_you_mean
from orchestrator.home import REPOSITORY

GROUPS = {
    "Begin": ("doctor", "data", "import", "build-images", "check"),
    "Measure": ("sweep", "compare", "gate", "tune", "limit", "largest-batch"),
    "Many machines": ("submit", "jobs", "join"),
    "Look": ("report", "runs", "show", "index"),
    "Use what was trained": ("export", "watch"),
    "Share": ("publish", "ingest", "export-env", "export-mlflow"),
    "Keep order": ("images", "remove", "reap"),
}
"""All verbs, by what one does first."""

_HELP = ("--help", "-h")
_UNKNOWN = re.compile(r"No idea what '(.*)' is!", re.DOTALL)
_MISSING = re.compile(r"'.*' did not receive required positional arguments: (.*)", re.DOTALL)
_NO_VALUE = re.compile(r"Flag <Argument: (\S+?)[ >].* needed value and was not given one!", re.DOTALL)


def main() -> None:
    """The program `waymark`."""
    spec = importlib.util.spec_from_file_location("tasks", REPOSITORY / "tasks.py")
    if spec is None or spec.loader is None or not (REPOSITORY / "tasks.py").is_file():
        sys.exit(f"{REPOSITORY} holds no tasks.py: waymark runs from its clone, installed with `pip install -e .`.")
    tasks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tasks)
    verbs = Collection.from_module(tasks)
    Program(name="waymark", binary="waymark", version=_version(), namespace=verbs).run()


def _version() -> str:
    try:
        return version("waymark-bench")
    except PackageNotFoundError:
        return "from a clone that is not installed"


def take_over() -> None:
    """Give Invoke's program our words for a wrong command line, exit code 2 with them, and our list of verbs."""
    if hasattr(Program, "_is_waymark"):
        return
    Program._is_waymark = True  # type: ignore[attr-defined]
    handle, parse_tasks, parse_cleanup = ParseMachine.handle, Program.parse_tasks, Program.parse_cleanup
    print_help, list_tasks = Program.print_help, Program.list_tasks

    def handle_flags_first(machine: Any, token: str) -> None:
        """Read what looks like a flag as one, and not as a word that the verb takes; --help needs none of its words."""
        verb = machine.context
        is_flag = token.startswith("--") and verb is not None and not machine.waiting_for_flag_value
        if is_flag and verb.name and token not in (*verb.flags, *verb.inverse_flags, *_HELP):
            machine.error(f"No idea what {token!r} is!")
        if token in _HELP and verb is not None:
            for argument in verb.missing_positional_args:
                argument.value = ""
        handle(machine, token)

    def parse(program: Program) -> None:
        if program.args.dry.value:
            raise Exit(
                "--dry is Invoke's own and would run the verb all the same; say `invoke sweep --dry-run`.",
                SpecError.exit_code,
            )
        words = program.core.unparsed
        if words[:1] == ["help"]:  # else the word after it would be read as a second verb
            program.core.unparsed = [words[1], "--help"] if words[1:] else []
        _in_our_words(lambda: parse_tasks(program), program)

    def clean_up(program: Program) -> None:
        try:
            try:
                _in_our_words(lambda: parse_cleanup(program), program)
            finally:
                if sys.stdout is not None:  # it may be closed, as by `>&-`
                    sys.stdout.flush()
        except BrokenPipeError:
            raise reader_gone() from None

    def show_verbs(program: Program) -> None:
        if program.list_format != "flat":
            list_tasks(program)
            return
        collection = program.collection
        lines = {name: (collection[name].__doc__ or "").strip().splitlines()[0] for name in collection.task_names}
        print(overview(lines))  # noqa: T201 - this is the output

    def show_help(program: Program) -> None:
        show_verbs(program)
        if program.args.help.value is True:
            print_help(program)

    ParseMachine.handle = handle_flags_first  # type: ignore[assignment, method-assign]
    Program.parse_tasks = parse  # type: ignore[assignment, method-assign]
    Program.parse_cleanup = clean_up  # type: ignore[assignment, method-assign]
    Program.list_tasks = show_verbs  # type: ignore[assignment, method-assign]
    Program.print_help = show_help  # type: ignore[assignment, method-assign]


def overview(first_lines: dict[str, str]) -> str:
    """All verbs by group. first_lines: verb -> what it does."""
    width = max(map(len, first_lines))
    wrapped = textwrap.TextWrapper(shutil.get_terminal_size((120, 24)).columns, subsequent_indent=" " * (width + 4))
    parts = ["waymark: which deep-learning framework, and which build of it, is fastest here, with proof."]
    for title, verbs in GROUPS.items():
        parts.append(f"\n{title}")
        parts += [wrapped.fill(f"  {verb:{width}}  {first_lines[verb]}") for verb in verbs if verb in first_lines]
    parts.append("\n`invoke help VERB` says what a verb takes. `waymark VERB` does the same, from any folder.")
    return "\n".join(parts)


def _in_our_words(parse: Callable[[], None], program: Program) -> None:
    """Raise Exit with code 2 and our sentence where Invoke cannot parse."""
    try:
        parse()
    except ParseError as error:
        raise Exit(_sentence(error, program.parser.contexts), SpecError.exit_code) from None


def _sentence(error: ParseError, verbs: Iterable[str]) -> str:
    said, verb = str(error), getattr(error.context, "name", None)
    if match := _UNKNOWN.fullmatch(said):
        if verb is None:
            return _no_verb(match[1], verbs)
        what = match[1].partition("=")[0]
        if what.startswith("-"):
            near = did_you_mean(what, error.context.flags) if error.context else ""
            return f"'{verb}' has no flag {what}.{near} `invoke {verb} --help` lists them."
        return f"'{verb}' takes no word '{what}' there. `invoke {verb} --help` says what it takes."
    if match := _MISSING.fullmatch(said):
        names = [name.strip("' ") for name in match[1].split(",")]
        words, flags = " and ".join(name.upper() for name in names), " and ".join(f"--{name}" for name in names)
        how = "as a word" if len(names) == 1 else "in that order"
        return f"'{verb}' needs {words}, {how} or as {flags}. `invoke {verb} --help` says what that is."
    if match := _NO_VALUE.fullmatch(said):
        return f"--{match[1].strip('_')} of '{verb}' needs a value. `invoke {verb} --help` says which."
    return f"{said.rstrip('!.')}. `invoke {verb} --help` says what it takes." if verb else said


def _no_verb(name: str, verbs: Iterable[str]) -> str:
    return f"waymark has no verb '{name}'.{did_you_mean(name, verbs)} `invoke --list` shows all."
