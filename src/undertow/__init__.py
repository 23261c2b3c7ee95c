"""undertow: the non-linearities of a deep network, and the gradient that runs back beneath it.

Names are loaded when they are first used, so that `undertow --help` answers without importing torch; the stub
beside this file is the list of what is public.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
