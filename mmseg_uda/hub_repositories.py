"""Models on the Hugging Face hub: addresses, fetching and sending folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmseg_uda import __version__
from mmseg_uda.errors import UserError
from mmseg_uda.hub import settle_for_cache_when_offline
from mmseg_uda.system_errors import refused_here

PREFIX = "hf:/"  # a path object joins the two slashes
_NAME = r"[A-Za-z0-9](?:[\w.-]{0,94}\w)?"
_ADDRESS = re.compile(rf"hf:/{{1,2}}({_NAME}/{_NAME})(?:@([\w./-]+))?")
_REPOSITORY = re.compile(rf"(?:{_NAME}/)?{_NAME}")
LOG_IN = "log in with a token that may do so: hf auth login (or set HF_TOKEN)"


@dataclass(frozen=True)
class HubAddress:
    """A repository of the hub.

    Attributes:
        repository: 'owner/name'.
        revision: Branch, tag or commit; None for the newest of the main branch.
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf://{self.repository}" + (f"@{self.revision}" if self.revision else "")


def hub_address(place: object) -> HubAddress | None:
    """Reads ``hf://owner/name`` or ``hf://owner/name@revision``; None for anything else.

    Raises:
        UserError: It begins as an address and is none.
    """
    text = str(place)
    if not text.startswith(PREFIX):
        return None
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise UserError(
            f"{text[:200]} is no address of a model.",
            fix="Write hf://owner/name, or hf://owner/name@revision.",
        )
    return HubAddress(found[1], found[2])


def fetch_repository(address: HubAddress, files: Sequence[str]) -> Path:
    """Returns the folder of a repository's files in the local cache, fetched where they are new.

    Args:
        address: The repository.
        files: Names of those that are wanted; the repository may lack some.

    Raises:
        UserError: There is no such repository or revision for this user, or the hub cannot be
            reached and the cache has none.
    """
    settle_for_cache_when_offline()
    from huggingface_hub import snapshot_download

    with _told(f"{address} cannot be fetched", address.repository, "read it"):
        folder = snapshot_download(
            address.repository,
            revision=address.revision,
            allow_patterns=list(files),
            etag_timeout=10,
            library_name="mmseg_uda",
            library_version=__version__,
        )
    return Path(folder)


def require_repository(name: str) -> None:
    """Checks the name of a repository to send to.

    Raises:
        UserError: The hub allows no such name.
    """
    if _REPOSITORY.fullmatch(name) is None or ".." in name or "--" in name:
        raise UserError(
            f"{name[:200]!r} is no name of a repository.",
            fix="Give --push-to-hub owner/name, of letters, digits and . - _ between them.",
        )


def send_folder(
    folder: Path, repository: str, private: bool = False, replaces: Sequence[str] = ()
) -> str:
    """Sends the files of a folder to a repository, which is made if it is not there yet.

    Args:
        folder: Its files become one commit on the main branch.
        repository: 'owner/name', or a name below the user's own.
        private: Whether a new repository is private.
        replaces: Names of files that the repository loses where the folder has none of them.

    Returns:
        Address of the repository on the hub.

    Raises:
        UserError: The hub cannot be reached or refuses.
    """
    require_repository(repository)
    settle_for_cache_when_offline()
    from huggingface_hub import HfApi

    api = HfApi(library_name="mmseg_uda", library_version=__version__)
    with _told(f"{folder} is written but cannot be sent to the hub", repository, "write to it"):
        made = api.create_repo(repository, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            commit_message=f"Publish {folder.name}",
            delete_patterns=list(replaces) or None,
        )
    return str(made)


@contextmanager
def _told(failure: str, repository: str, purpose: str) -> Iterator[None]:
    """Turns what the hub's client raises into one message."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"{failure}: its owner wants its terms accepted first.",
            fix=f"Accept them on the page of {repository}, then {LOG_IN}.",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"{failure}: the repository has no such revision.",
            fix=f"Leave out what follows the @, or give a branch, tag or commit of {repository}.",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{failure}: the hub has no such repository, or you may not {purpose}.",
            fix=f"Correct the name; if it is private, {LOG_IN}.",
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        denied = status in (401, 403)
        reason = f"you may not {purpose}" if denied else f"the hub answers {_first_line(error)}"
        raise UserError(
            f"{failure}: {reason}.", fix=f"{LOG_IN[0].upper()}{LOG_IN[1:]}." if denied else None
        ) from error
    except errors.HFValidationError as error:
        raise UserError(f"{failure}: {_first_line(error)}.", fix="Correct the name.") from error
    except Exception as error:  # no network: each layer of the client has its own classes
        refused = refused_here(error)
        if refused is not None:
            raise refused from error
        where = os.environ.get("HF_ENDPOINT", "the hub")
        raise UserError(
            f"{failure}: {where} cannot be reached ({type(error).__name__}).",
            fix=f"Where there is a network, run hf download {repository}, and give the folder in "
            "place of the address."
            if purpose == "read it"
            else "Try again where there is a network.",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
