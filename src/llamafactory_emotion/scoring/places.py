"""Is a model where its name says: in a folder, in the cache, or on the hub?

Asked before anything is loaded: without a network the libraries would try again for a minute and
then complain of a tokenizer.
"""

from hashlib import sha256
from pathlib import Path

from llamafactory_emotion.errors import ModelError

_HUB_SECONDS = 5.0
_END_BYTES = 65_536
_GATED = "it is gated"
_found_on_hub: set[tuple[str | None, ...]] = set()


def is_path(name: str) -> bool:
    """Say whether a name is a folder's: a hub id has one slash at most and no dots in front."""
    return Path(name).is_absolute() or name.startswith((".", "~", "saves/")) or name.count("/") > 1


def check_place(
    name: str,
    *,
    what: str = "model",
    revision: str = "main",
    token: str | None = None,
    cache_dir: str | None = None,
) -> None:
    """Refuse the name of a model or an adapter that leads nowhere.

    A hub that is only busy is left to the libraries, which try again.

    Args:
        name: A folder or hub id.
        what: `model` or `adapter`.
        revision: The hub revision.
        token: The hub token.
        cache_dir: Where downloads are kept.

    Raises:
        ModelError: Says whether the folder is missing or what the hub says.
    """
    if Path(name).is_dir():
        return
    if is_path(name):
        raise ModelError(f"the {what} folder {name} is not there; check the path.")
    file = "config.json" if what == "model" else "adapter_config.json"
    asked = (name, file, revision, cache_dir)
    if asked in _found_on_hub:
        return
    problem = hub_problem(
        name, revision=revision, token=token, cache_dir=cache_dir, file=file, patient=True
    )
    if problem is None:
        _found_on_hub.add(asked)
    elif problem == _GATED:
        raise ModelError(
            f"the {what} {name} is gated: accept its terms on the hub, and give your token with "
            "`hf auth login` or hf_hub_token."
        )
    else:
        raise ModelError(
            f"{name} is no folder here, and {problem}; check the path, or name a folder that has "
            f"the {what}."
        )


def fingerprint(name: str | None) -> str | None:
    """Give what tells a folder's weights from those of another training; None for a hub id.

    Names, sizes and both ends of the files are looked at: a model of 16 GB costs nothing.
    """
    if name is None or not Path(name).is_dir():
        return None
    digest = sha256()
    for pattern in ("*.safetensors", "*.bin", "*config.json"):
        for place in sorted(Path(name).glob(pattern)):
            size = place.stat().st_size
            digest.update(f"{place.name} {size} ".encode())
            with place.open("rb") as file:
                digest.update(file.read(_END_BYTES))
                file.seek(max(0, size - _END_BYTES))
                digest.update(file.read())
    return digest.hexdigest()[:16]


def hub_problem(
    name: str,
    *,
    revision: str = "main",
    token: str | None = None,
    cache_dir: str | None = None,
    file: str = "config.json",
    patient: bool = False,
) -> str | None:
    """Give why a model of the hub cannot be read, found out in seconds; None when it can be.

    Args:
        name: Its id.
        revision: The hub revision.
        token: The hub token.
        cache_dir: Where downloads are kept.
        file: What is read of it first.
        patient: Let a hub pass that answers, but slowly or with an error of its own.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    api = HfApi(token=token)
    try:
        cached = try_to_load_from_cache(name, file, cache_dir=cache_dir, revision=revision)
        if not isinstance(cached, str):
            api.model_info(name, revision=revision, timeout=_HUB_SECONDS)
            api.auth_check(name)
    except (HTTPError, OSError, HFValidationError) as error:
        return None if patient and _may_pass(error) else _said(error)
    return None


def _said(error: Exception) -> str:
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    said = {
        GatedRepoError: _GATED,  # before its parent
        RepositoryNotFoundError: "the hub has no such model, or it is private",
        RevisionNotFoundError: "the hub's model has no such revision",
        HFValidationError: "the hub has no such model: this is no id of one",
    }
    otherwise = f"the hub cannot be reached ({type(error).__name__})"
    return next((what for kind, what in said.items() if isinstance(error, kind)), otherwise)


def _may_pass(error: Exception) -> bool:
    """Whether the hub was there, and had only no answer."""
    from httpx import ConnectError, ConnectTimeout
    from huggingface_hub.errors import (
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    lasting = (
        *(ConnectError, ConnectTimeout, ConnectionError),
        *(HFValidationError, RepositoryNotFoundError, RevisionNotFoundError),
    )
    return not isinstance(error, lasting)
