"""What theory says of an activation and of a network before training.  Pure functions: no hooks, no models run."""

from undertow.theory.blueprint import Blueprint as Blueprint
from undertow.theory.critical import Critical as Critical
from undertow.theory.critical import critical_curve as critical_curve
from undertow.theory.critical import critical_point as critical_point
from undertow.theory.critical import half_stable as half_stable
from undertow.theory.criticality import Criticality as Criticality
from undertow.theory.criticality import FixedPoint as FixedPoint
from undertow.theory.criticality import correlation_map as correlation_map
from undertow.theory.criticality import criticality as criticality
from undertow.theory.criticality import variance_map as variance_map
from undertow.theory.forecast import Forecast as Forecast
from undertow.theory.forecast import SiteForecast as SiteForecast
from undertow.theory.forecast import forecast as forecast
from undertow.theory.gains import Direction as Direction
from undertow.theory.gains import gain as gain
from undertow.theory.initialise import match_ as match_
from undertow.theory.interpolate import moments_at as moments_at
from undertow.theory.joint import Joint as Joint
from undertow.theory.joint import joint as joint
from undertow.theory.matching import Account as Account
from undertow.theory.matching import Matched as Matched
from undertow.theory.moments import Moments as Moments
from undertow.theory.moments import moments as moments
from undertow.theory.quadrature import gaussian_nodes as gaussian_nodes
