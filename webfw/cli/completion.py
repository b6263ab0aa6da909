"""The ``webfw completion`` command: scripts for shells, made from the parsers; what commands do may not enter."""

import argparse
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # add_parser's type has no name outside argparse's stub.
    from argparse import _SubParsersAction

__all__ = ["add_command"]

_FILES = {"FILE", "PATH"}
_DIRECTORIES = {"DIRECTORY", "DIR"}


def add_command(commands: "_SubParsersAction[Any]") -> None:
    """Add ``completion`` to the commands of a parser."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes this command in a shell",
        description="Print a script that completes this command: add "
        "`source <(webfw completion bash)` to ~/.bashrc, `source <(webfw completion zsh)` to ~/.zshrc behind compinit, "
        "or `webfw completion fish | source` to ~/.config/fish/config.fish.",
    )
    parser.add_argument("shell", choices=sorted(_SHELLS), help="which one")
    parser.set_defaults(command=partial(completion, commands))


def completion(commands: "_SubParsersAction[Any]", arguments: argparse.Namespace) -> int:
    """Run the command with its parsed arguments and return the exit status.

    :param commands: all there are, by now.
    """
    found = [_command(name, parser) for name, parser in commands.choices.items()]
    print("\n".join(_SHELLS[arguments.shell](found)))
    return 0


# --- what there is to complete ---


@dataclass(frozen=True, slots=True)
class Values:
    """What may stand in a place.

    :ivar words: some words.
    :ivar files: ``files``, ``directories`` or nothing.
    """

    words: tuple[str, ...] = ()
    files: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """A flag, in all its spellings; without values it stands by itself."""

    names: tuple[str, ...]
    help: str
    values: Values | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A command with its flags, and what may stand in its places (those of its first one are taken for all)."""

    name: str
    help: str
    options: tuple[Option, ...]
    values: Values


def _command(name: str, parser: argparse.ArgumentParser) -> Command:
    options = []
    values = Values()
    for action in parser._actions:  # argparse has no other way to look into a parser
        if action.help is argparse.SUPPRESS:
            continue
        text = re.sub(r"\s*\(default: .*\)$", "", action.help or "").replace("%%", "%")
        if action.option_strings:
            names = tuple(action.option_strings)
            options.append(Option(names, text, None if action.nargs == 0 else _values(action)))
        elif values == Values():
            values = _values(action)
    return Command(name, (parser.description or "").partition(". ")[0].rstrip("."), tuple(options), values)


def _values(action: argparse.Action) -> Values:
    """What may stand for a value, by its choices or by what stands for it in the help: ``FILE|-|off``."""
    if action.choices is not None:
        return Values(tuple(map(str, action.choices)))
    parts = str(action.metavar or "").split("|")
    words = tuple(part for part in parts if not part.isupper() and re.fullmatch(r"[\w-]+", part))
    files = (
        "directories" if _DIRECTORIES.intersection(parts) else "files" if _FILES.intersection(parts) else ""
    )
    return Values(words, files)


# --- bash ---


def _bash(commands: Iterable[Command]) -> Iterator[str]:
    commands = list(commands)
    yield from (
        "# webfw completion bash",
        "_webfw() {",
        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= flags= word",
        "    COMPREPLY=()",
        "    # bash takes --flag=value apart, into three words",
        '    if [[ $cur == "=" ]]; then cur=; elif [[ $prev == "=" ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi',
        "    for ((i = 1; i < COMP_CWORD; i++)); do",
        "        word=${COMP_WORDS[i]}; if [[ $word != -* ]]; then command=$word; break; fi",
        "    done",
        '    case "$command $prev" in',
    )
    for command in commands:
        by_values: dict[Values, list[str]] = {}
        for option in command.options:
            if option.values is not None:
                by_values.setdefault(option.values, []).extend(option.names)
        for values, names in by_values.items():
            places = "|".join(f'"{command.name} {name}"' for name in names)
            yield f"        {places}) {_bash_reply(values)}; return ;;"
    yield from ("    esac", '    case "$command" in')
    known = " ".join(command.name for command in commands)
    yield f'        "") COMPREPLY=($(compgen -W "{known} --help --version" -- "$cur")); return ;;'
    for command in commands:
        flags = " ".join(name for option in command.options for name in option.names)
        yield f'        {command.name}) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "{flags}" -- "$cur"))'
        yield f"            else {_bash_reply(command.values)}; fi ;;"
    yield from ("    esac", "}", "complete -F _webfw webfw")


def _bash_reply(values: Values) -> str:
    words = f'COMPREPLY=($(compgen -W "{" ".join(values.words)}" -- "$cur"))' if values.words else ":"
    if not values.files:
        return words
    kind = "d" if values.files == "directories" else "f"
    # The words of -W are split by IFS too, so they come first.
    files = f"local IFS=$'\\n'; COMPREPLY+=($(compgen -{kind} -- \"$cur\"))"
    return f"{words}; compopt -o filenames 2>/dev/null; {files}"


# --- zsh ---


def _zsh(commands: Iterable[Command]) -> Iterator[str]:
    commands = list(commands)
    yield from (
        "#compdef webfw",
        "_webfw_or_files() { compadd -- $@; _files }",
        "_webfw() {",
        "    local context state line",
        "    typeset -A opt_args",
    )
    yield "    _arguments -C '(- *)'{-h,--help}'[show help]' '(- *)--version[show the version]' \\"
    yield "        '1: :->command' '*:: :->arguments'"
    yield from (
        '    case "$state" in',
        "        command)",
        "            local -a commands",
        "            commands=(",
    )
    for command in commands:
        yield f"                {_quoted(command.name + ':' + command.help)}"
    yield from ("            )", "            _describe command commands ;;", "        arguments)")
    yield '            case "$line[1]" in'
    for command in commands:
        yield f"                {command.name}) _arguments \\"
        for option in command.options:
            for name in option.names:
                ending = "" if option.values is None else "=" if name.startswith("--") else "+"
                spec = f"*{name}{ending}[{_bracketed(option.help)}]"
                if option.values is not None:
                    spec += f":value:{_zsh_action(option.values)}"
                yield f"                    {_quoted(spec)} \\"
        yield f"                    {_quoted('*:value:' + _zsh_action(command.values))} ;;"
    yield from (
        "            esac ;;",
        "    esac",
        "}",
        'if [[ "$funcstack[1]" == _webfw ]]; then _webfw "$@"',
    )
    yield "else compdef _webfw webfw; fi"


def _zsh_action(values: Values) -> str:
    files = "_files -/" if values.files == "directories" else "_files"
    if not values.words:
        return files if values.files else " "
    # A space in front: nothing is put between the function and its words.
    return f" _webfw_or_files {' '.join(values.words)}" if values.files else f"({' '.join(values.words)})"


def _bracketed(text: str) -> str:
    """What may stand in the brackets of a specification."""
    return re.sub(r"([\[\]:\\])", r"\\\1", text)


def _quoted(text: str) -> str:
    """One word of bash or zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


# --- fish ---


def _fish(commands: Iterable[Command]) -> Iterator[str]:
    yield from (
        "# webfw completion fish",
        "complete -c webfw -f",
        "complete -c webfw -n __fish_use_subcommand -l version",
    )
    yield "complete -c webfw -n __fish_use_subcommand -s h -l help"
    for command in commands:
        yield f"complete -c webfw -n __fish_use_subcommand -a {command.name} -d {_fish_quoted(command.help)}"
        here = f"complete -c webfw -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            for name in option.names:
                word = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                value = "" if option.values is None else f" -x{_fish_values(option.values)}"
                yield f"{here} {word}{value} -d {_fish_quoted(option.help)}"
        if command.values != Values():
            yield f"{here}{_fish_values(command.values)}"


def _fish_values(values: Values) -> str:
    parts = list(values.words)
    if values.files:
        parts.append(
            "(__fish_complete_directories)" if values.files == "directories" else "(__fish_complete_path)"
        )
    return f" -a {_fish_quoted(' '.join(parts))}" if parts else ""


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SHELLS: dict[str, Callable[[Iterable[Command]], Iterator[str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
