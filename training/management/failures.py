"""What can go wrong in training, as a line and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from safetensors import SafetensorError

from training.lock import LockedError
from training.trainer.stopping import Interrupted

FAILED = 2
LOCKED = 4
INTERRUPTED = 130


@contextmanager
def training_errors(*, resume: str) -> Iterator[None]:
    """Turn the errors of a training run into `CommandError`; `resume` is the command that continues it.

    Errors about the input (ConfigError, NotEnoughPairs, OutsideRootError, BaseModelError, AdapterError, …) all are
    ValueErrors, of exit code 1. What cannot be foreseen keeps its traceback.
    """
    try:
        yield
    except Interrupted as stop:
        raise CommandError(
            f"{stop}; its pairs stay marked, `{resume}` goes on from there", returncode=INTERRUPTED
        ) from stop
    except KeyboardInterrupt as stop:
        raise CommandError(
            f"stopped; `{resume}` goes on from the last checkpoint of a run that had begun", returncode=INTERRUPTED
        ) from stop
    except LockedError as error:
        raise CommandError(str(error), returncode=LOCKED) from error
    except ValueError as error:
        raise CommandError(str(error)) from error
    except (RuntimeError, OSError, SafetensorError) as error:
        raise CommandError(
            f"training failed: {error}; no adapter was kept, the pairs are free again", returncode=FAILED
        ) from error
