"""What theory says of an activation and of a network before training.  Pure functions: no hooks, no models run."""

from undertow.theory.gains import Direction as Direction
from undertow.theory.gains import gain as gain
from undertow.theory.initialise import Account as Account
from undertow.theory.initialise import Matched as Matched
from undertow.theory.initialise import match_ as match_
from undertow.theory.interpolate import moments_at as moments_at
from undertow.theory.joint import Joint as Joint
from undertow.theory.joint import joint as joint
from undertow.theory.moments import Moments as Moments
from undertow.theory.moments import moments as moments
from undertow.theory.quadrature import gaussian_nodes as gaussian_nodes
