"""What older releases of LLaMA-Factory and transformers lack: tests that need it are skipped."""

from importlib.metadata import version

import pytest
from packaging.version import Version

TRANSFORMERS_5 = Version(version("transformers")) >= Version("5")
PACKS = Version(version("llamafactory")) >= Version("0.9.5")
# What LLaMA-Factory 0.9.4 says of `neat_packing` beside transformers 4.53 or newer.
PACKING_REFUSED = "Neat packing is incompatible"

needs_transformers_5 = pytest.mark.skipif(not TRANSFORMERS_5, reason="transformers 5 is needed")
