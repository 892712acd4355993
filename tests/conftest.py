"""What several tests need."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine must not fail a property: what takes long is no fault here. The suite tries the
# same examples every time, so that a find does not stop somebody else's change; HYPOTHESIS_PROFILE
# =explore looks for new ones.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data, beside the repository; its terms keep it out of here."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data is not at {SHARED_DATA} (it may not be shipped)")
    return SHARED_DATA


OWN_TEXTS = (
    "the train was late again and nobody told us why",
    "my sister sent me flowers and a long letter",
    "someone has been through the drawers of my desk",
    "we won the match in the very last minute",
    "i keep thinking of the old house by the river",
    "there is a noise behind the cellar door every night",
)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with random weights that knows the words of six sentences of our own."""
    from llamafactory_emotion.tiny_model import write_tiny_model

    folder = tmp_path_factory.mktemp("base") / "tiny_base"
    write_tiny_model(OWN_TEXTS, folder, epochs=0)
    return folder
