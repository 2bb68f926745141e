"""Models: layers put together for a task."""

from lstmjax.models.language_model import LanguageModel, LanguageModelConfig

__all__ = ["LanguageModel", "LanguageModelConfig"]
