"""The cure written into the user's own file, and the proof that the file does what the trial did."""

from undertow.cures.patching.patch import Patched as Patched
from undertow.cures.patching.patch import patched as patched
from undertow.cures.patching.patch import write as write
from undertow.cures.patching.proof import Proof as Proof
from undertow.cures.patching.proof import prove as prove
