"""The tiny language model of the training's tests."""

from tests.training.conftest import tiny_model_path

__all__ = ["tiny_model_path"]
