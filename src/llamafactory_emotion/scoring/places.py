"""Is a model where its name says: in a folder, in the cache, or on the hub?

Asked before anything is loaded: without a network the libraries would try again for a minute and
then complain of a tokenizer.
"""

from functools import cache
from pathlib import Path

from llamafactory_emotion.errors import ModelError

_HUB_SECONDS = 5.0
_GATED = "it is gated"


def is_path(name: str) -> bool:
    """Say whether a name is a folder's: a hub id has one slash at most and no dots in front."""
    return Path(name).is_absolute() or name.startswith((".", "~", "saves/")) or name.count("/") > 1


def check_place(
    name: str, *, what: str = "model", token: str | None = None, cache_dir: str | None = None
) -> None:
    """Refuse the name of a model or an adapter that leads nowhere.

    Args:
        name: A folder or hub id.
        what: `model` or `adapter`.
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
    problem = hub_problem(name, token=token, cache_dir=cache_dir, file=file)
    if problem == _GATED:
        raise ModelError(
            f"the {what} {name} is gated: accept its terms on the hub, and give your token with "
            "`hf auth login` or hf_hub_token."
        )
    if problem is not None:
        raise ModelError(
            f"{name} is no folder here, and {problem}; check the path, or name a folder that has "
            f"the {what}."
        )


@cache
def hub_problem(
    name: str,
    *,
    token: str | None = None,
    cache_dir: str | None = None,
    file: str = "config.json",
) -> str | None:
    """Give why a model of the hub cannot be read, found out in seconds; None when it can be."""
    from httpx import HTTPError
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
    )

    api = HfApi(token=token)
    try:
        if isinstance(try_to_load_from_cache(name, file, cache_dir=cache_dir), str):
            return None
        api.model_info(name, timeout=_HUB_SECONDS)
        api.auth_check(name)
    except GatedRepoError:
        return _GATED
    except RepositoryNotFoundError:
        return "the hub has no such model, or it is private"
    except HFValidationError:
        return "the hub has no such model: this is no id of one"
    except (HTTPError, HfHubHTTPError, OSError) as error:
        return f"the hub cannot be reached ({type(error).__name__})"
    return None
