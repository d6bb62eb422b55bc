"""Publish a finished run: verify that it loads anywhere, then put it on the Hugging Face Hub in one commit.

A Hub that refuses or is away never ends a training run: `publish` says why, and which command tries again:

    python -m trainers.publish runs/clip user/name
"""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from trainers.hub import push
from trainers.hub.check import MODEL, CheckResult, verify
from trainers.hub.isolated import IsolatedError, run_isolated
from trainers.hub.scrub import hide_secrets, scrub

CARD = "README.md"
PICTURE = re.compile(r"!\[[^\]]*\]\((?!https?://)([^)\s]+)\)")
PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
TEXT = {".json", ".jsonl", ".md", ".py", ".txt", ".yaml", ".yml"}
VOCABULARIES = {"tokenizer.json", "vocab.txt", "vocab.json", "merges.txt"}  # may hold any string
WORD2VEC = re.compile(rb"([1-9]\d*) ([1-9]\d*)\n")
SLOWEST = 250_000  # bytes a second, a 2 Mbit/s line


@dataclass(frozen=True)
class PublishResult:
    """What became of an attempt to publish."""

    published: bool
    url: str | None
    """Address of the repository, if published."""
    reason: str | None
    """One sentence, if not."""
    retry: str
    """Command that tries again."""
    check: CheckResult

    def __str__(self) -> str:
        if self.published:
            return f"published: {self.url} ({self.check})"
        return f"not published: {self.reason}\nnothing is lost; to try again: {self.retry}"


def check_repo_id(repo_id: str) -> None:
    """Refuse a repository id that the Hub would refuse; call it before training starts.

    Raises:
        ValueError: `repo_id` is not `user/name` in the Hub's characters.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"repository id {repo_id!r} is not valid on the Hub: {error}") from None
    if "/" not in repo_id:
        raise ValueError(f"repository id {repo_id!r} has no owner; write it as user/{repo_id}")


def publish(
    folder: Path,
    repo_id: str,
    classes: Mapping[str, str] | None = None,
    *,
    private: bool = False,
    seconds: float | None = None,
) -> PublishResult:
    """Verify `<folder>/model`, then upload it with README.md and the pictures README.md shows, in one commit.

    Prints the outcome and returns it. Call it on the main process only, after everything else is saved.

    Args:
        folder: The run's output folder: `model/`, `check.safetensors`, `README.md`, pictures.
        repo_id: `user/name` on the Hub; made if it does not exist.
        classes: As in `trainers.hub.check.write_check`; None takes the ones stored there.
        private: Whether a repository that is made here is private.
        seconds: End of the upload; None allows a minute and the time the files take at 2 Mbit/s.

    Raises:
        ValueError: The repository id is invalid, a file is missing or must not be uploaded, or the
            model does not reload to the same outputs. What the Hub does raises nothing.
    """
    check_repo_id(repo_id)
    files = files_to_upload(folder)
    check = verify(folder, classes)
    size = sum(path.stat().st_size for path in files.values())
    limit = 60 + size / SLOWEST if seconds is None else seconds
    retry = f"python -m trainers.publish {shlex.quote(str(folder))} {repo_id}{' --private' * private}"
    amount = f"{len(files)} files, {size / 1e6:.1f} MB"
    print(f"publishing {amount}, to {repo_id} (at most {limit:.0f} s)", flush=True)
    question = {
        "repo_id": repo_id,
        "files": {name: str(path.resolve()) for name, path in files.items()},
        "private": private,
        "message": "Upload model, card and pictures",
    }
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    try:
        answer = run_isolated(Path(push.__file__), question, environment, seconds=limit)
    except IsolatedError as error:
        answer = {"reason": f"the upload did not finish ({error})"}
    reason = answer.get("reason")
    result = PublishResult(reason is None, answer.get("url"), scrub(reason) if reason else None, retry, check)
    print(result, flush=True)
    return result


def files_to_upload(folder: Path) -> dict[str, Path]:
    """Path in the repository -> file, for everything a publication of `folder` holds.

    Raises:
        ValueError: README.md, a picture it shows or the weights are missing, a file may be a pickle, or a
            text file holds a secret.
    """
    card, model = folder / CARD, folder / MODEL
    if not card.is_file():
        raise ValueError(f"{card} is missing; write it with trainers.hub.card.model_card before publishing")
    if not any(model.glob("*.safetensors")):
        raise ValueError(f"{model} holds no *.safetensors; save the model there with save_pretrained")
    paths = (p for p in sorted(model.rglob("*")) if p.is_file())
    files = {p.relative_to(model).as_posix(): p for p in paths if not p.name.startswith(".")}
    for picture in PICTURE.findall(card.read_text(encoding="utf-8")):
        path = folder / picture
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{card} shows {picture}, which is not a file in {folder}; save it there")
        files[picture] = path
    files[CARD] = card  # after the model's own files: a library may have left its own README.md in model/
    for path in files.values():
        if path.suffix in PICKLES and not is_word2vec(path):
            raise ValueError(f"{path} may be a pickle, which can run code when loaded; remove it from {model}")
        if path.suffix in TEXT and path.name not in VOCABULARIES:
            text = path.read_text(encoding="utf-8", errors="replace")
            if hide_secrets(text) != text:
                raise ValueError(f"{path} holds a token or the value of a secret variable; take it out")
    return files


def is_word2vec(path: Path) -> bool:
    """Whether a file is in the binary format of the word2vec tool, from its first byte to its last.

    A line "count width"; then per word its name, a space, width fp32 numbers and a line end. It runs no code, but its
    usual name, vectors.bin, is one of pickles too.
    """
    content = path.read_bytes()
    head = WORD2VEC.match(content)
    if head is None:
        return False
    place = head.end()
    for _ in range(int(head[1])):
        space = content.find(b" ", place)
        place = space + 1 + 4 * int(head[2])
        if space < 0 or content[place : place + 1] != b"\n":
            return False
        place += 1
    return place == len(content)


def main(arguments: list[str] | None = None) -> int:
    """Command line of `python -m trainers.publish`; the exit code is 0 only if the run was published."""
    parser = argparse.ArgumentParser(prog="python -m trainers.publish", description="Publish a finished run.")
    parser.add_argument("folder", type=Path, help="the run's output folder, which holds model/ and README.md")
    parser.add_argument("repo_id", metavar="user/name", help="repository on the Hub, made if it does not exist")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    options = parser.parse_args(arguments)
    try:
        return 0 if publish(options.folder, options.repo_id, private=options.private).published else 1
    except ValueError as error:
        print(f"not published: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
