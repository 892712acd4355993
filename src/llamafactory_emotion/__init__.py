"""A LLaMA-Factory plug-in for emotion classification by instruction.

This module is loaded at every interpreter start by the start-up hook, so it imports nothing.
"""

__version__ = "0.2.0"

__all__ = ["__version__", "register"]


def register() -> None:
    """Register the template and the dataset formatting `emotion` with LLaMA-Factory.

    Needed only where the start-up hook is off; calling it twice does no harm.
    """
    from llamafactory_emotion.plugin.registration import register as register_with_llamafactory

    register_with_llamafactory()
