"""For all tests: a thread each, since two processes share two cores; and compiled code is looked for only after it.

Once torch.compile was called, a watch begins with a search through all objects, of which a process of tests has a
million: a test that compiles nothing runs as in a program that has never called it.
"""

import gc
import os
from functools import wraps

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

from undertow.foundation import warn
from undertow.probe import compiled

torch.set_num_threads(1)
compiles, compiler = torch.compile, compiled.COMPILER


@wraps(compiles)
def noted(*args, **kwargs):
    compiled.COMPILER = compiler
    return compiles(*args, **kwargs)


torch.compile = noted
compiled.COMPILER = "no compiler so far"


@pytest.fixture(autouse=True)
def _compiled_code_ends_with_its_test():
    yield
    if compiler == compiled.COMPILER:
        compiled.COMPILER = "no compiler so far"
        gc.collect()


def refused(message):
    raise RuntimeError(f"a warning that no test expects: {message}")


warn.told_instead = refused
