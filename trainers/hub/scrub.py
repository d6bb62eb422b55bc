"""Take secrets and home folders out of text before it is written, printed or uploaded."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

HIDDEN = "<hidden>"
SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSWORD", re.IGNORECASE)
HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
SECRET_FLAG = re.compile(r"--?[\w.-]*(?:token|key|secret|password)", re.IGNORECASE)
SHORTEST_SECRET = 8  # TOKENIZERS_PARALLELISM=false names a token, and "false" must stay readable


def secrets(environment: Mapping[str, str] | None = None) -> list[str]:
    """Values of the environment variables whose names speak of a secret, longest first.

    A value shorter than eight characters, or one that is a path that exists, is no secret.
    """
    environment = os.environ if environment is None else environment
    found = {value for name, value in environment.items() if SECRET_NAME.search(name)}
    return sorted((v for v in found if len(v) >= SHORTEST_SECRET and not _is_path(v)), key=len, reverse=True)


def hide_secrets(text: str, environment: Mapping[str, str] | None = None) -> str:
    """`text` with Hub tokens, values of secret variables and logins in URLs hidden."""
    for secret in secrets(environment):
        text = text.replace(secret, HIDDEN)
    return URL_LOGIN.sub(HIDDEN, HUB_TOKEN.sub(HIDDEN, text))


def scrub(text: str, environment: Mapping[str, str] | None = None) -> str:
    """`text` with secrets hidden and the home folder written `~`."""
    text, home = hide_secrets(text, environment), str(Path.home())
    return re.sub(rf"{re.escape(home)}(?=/|\s|$)", "~", text) if home != "/" else text


def scrub_command(command: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
    """Command line arguments for other people's eyes: no secrets, no absolute paths.

    A path below the working directory becomes relative to it; any other keeps its last part (`.../photos`).
    The value after a flag that speaks of a secret (`--hub-token X`, `--api_key=X`) is hidden whatever it is.
    """
    shown: list[str] = []
    for argument in command:
        flag, equals, value = argument.partition("=")
        if equals and flag.startswith("-"):
            value = HIDDEN if SECRET_FLAG.fullmatch(flag) else _shorten(value)
            shown.append(scrub(f"{flag}={value}", environment))
        elif shown and SECRET_FLAG.fullmatch(shown[-1]) and not argument.startswith("-"):
            shown.append(HIDDEN)
        else:
            shown.append(scrub(_shorten(argument), environment))
    return shown


def _shorten(argument: str) -> str:
    path = Path(argument).expanduser() if argument.startswith("~") else Path(argument)
    if not path.is_absolute():
        return argument
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else f".../{path.name}"


def _is_path(value: str) -> bool:
    return os.path.isabs(value) and os.path.exists(value)
