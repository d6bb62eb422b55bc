"""Helper program: put files into a repository on the Hub in one commit.

Run by `trainers.publish` in a process of its own, because huggingface_hub sets no timeout on its
requests and sleeps for as long as a server's Retry-After asks. Imports huggingface_hub only.
"""

import json
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError

REFUSALS = {
    401: "the Hub does not accept the token (401), log in again with `hf auth login`",
    402: "the Hub asks for payment (402)",
    403: "the token may not write to {repo_id} (403), make one with write access",
    404: "the Hub knows no namespace for {repo_id} (404)",
    413: "a file is too large for the Hub (413)",
    429: "the Hub takes no more requests for now (429)",
}


def push(repo_id: str, files: dict[str, str], private: bool, message: str) -> dict[str, str]:
    """Commit `files` (path in the repository -> path on this machine) to the model repository `repo_id`.

    Returns:
        `{"url": ...}`, or `{"reason": one sentence}` if the Hub refused.
    """
    if constants.HF_HUB_OFFLINE:
        return {"reason": "offline mode is on, unset HF_HUB_OFFLINE"}
    if get_token() is None:
        return {"reason": "there is no token, log in with `hf auth login` or set HF_TOKEN"}
    api = HfApi()
    try:
        repository = api.create_repo(repo_id, private=private, exist_ok=True)
        additions = [CommitOperationAdd(path_in_repo=k, path_or_fileobj=v) for k, v in files.items()]
        api.create_commit(repo_id, additions, commit_message=message)
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status >= 500:
            return {"reason": f"the Hub is away ({status})"}
        if status in REFUSALS:
            return {"reason": REFUSALS[status].format(repo_id=repo_id)}
        said = " ".join((error.server_message or "no reason given").split())
        return {"reason": f"the Hub answered {status}: {said}"}
    except json.JSONDecodeError:
        return {"reason": "the Hub gave an answer that is not its own, a proxy may be in between"}
    except ValueError as error:  # what huggingface_hub makes of a card or a file that the Hub finds invalid
        return {"reason": "the Hub finds a file invalid: " + " ".join(str(error).split())}
    return {"url": str(repository)}


if __name__ == "__main__":
    answer = push(**json.loads(Path("question.json").read_text()))
    Path("answer.json").write_text(json.dumps(answer))
