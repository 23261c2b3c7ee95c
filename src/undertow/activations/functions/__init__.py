"""The definitions, a file a family: every file in this folder is read, and every class in it known by its name."""

from importlib import import_module
from pkgutil import iter_modules

for _family in iter_modules(__path__):
    import_module(f"{__name__}.{_family.name}")
