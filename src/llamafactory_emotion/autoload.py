"""The start-up hook: tell LLaMA-Factory about the plug-in at the moment it is imported.

`llamafactory_emotion.pth` calls `install` at every interpreter start, so this module imports
nothing but `os` and `sys` and does next to nothing until LLaMA-Factory's data package loads.
LLaMA-Factory has no plug-in discovery, and its multi-GPU and Ray workers are fresh processes that
no wrapper command reaches; a start-up file does.
"""

import os
import sys

SWITCH = "LLAMAFACTORY_EMOTION_AUTOLOAD"
_REGISTRATION_POINT = "llamafactory.data"
_UNREACHED_POINT = "llamafactory.v1"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


class LlamaFactoryWatcher:
    """An import hook that registers the plug-in once LLaMA-Factory's data package is loaded."""

    def find_spec(
        self, name: str, _path: "Sequence[str] | None" = None, _target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Let every import pass; wrap the loader of the one package the plug-in extends."""
        if name == _UNREACHED_POINT:
            _warn("the plug-in does not reach LLaMA-Factory's v1 engine; unset USE_V1 to use it")
            return None
        if name != _REGISTRATION_POINT or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            _register_after_execution(spec)
        return spec


def install() -> None:
    """Install the hook, unless it is there or `LLAMAFACTORY_EMOTION_AUTOLOAD` says no."""
    if not is_switched_off() and not is_installed():
        sys.meta_path.insert(0, LlamaFactoryWatcher())


def is_switched_off() -> bool:
    """Whether the environment says 0, false, no or off."""
    return os.environ.get(SWITCH, "").lower() in ("0", "false", "no", "off")


def is_installed() -> bool:
    """Whether the hook waits for LLaMA-Factory in this process."""
    return any(type(finder).__name__ == "LlamaFactoryWatcher" for finder in sys.meta_path)


def _register_after_execution(spec: "ModuleSpec") -> None:
    loader: Any = spec.loader
    execute = loader.exec_module

    def execute_and_register(module: "ModuleType") -> None:
        execute(module)
        # Whatever goes wrong here, LLaMA-Factory itself must go on working.
        try:
            import llamafactory_emotion.plugin.registration  # noqa: F401 - registers
        except Exception as error:
            _warn(f"not registered with LLaMA-Factory ({type(error).__name__}: {error})")

    loader.exec_module = execute_and_register


def _warn(message: str) -> None:
    print(f"llamafactory_emotion: {message}", file=sys.stderr)
