"""Let transformers take the stand-in beside this file on a machine without a GPU.

transformers calls flash-attn available where its version is new enough and torch sees a GPU. It is
asked once, while it believes that there is a GPU, and keeps the answer; nothing else in it changes.
Python imports a module of this name at its start wherever this folder is on PYTHONPATH.
"""

from transformers.utils import import_utils

_as_it_is = import_utils.is_torch_cuda_available
import_utils.is_torch_cuda_available = lambda: True
import_utils.is_flash_attn_2_available()
import_utils.is_torch_cuda_available = _as_it_is
