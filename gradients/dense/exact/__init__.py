"""The differentiable reference, and how far the event layers are from it."""

from evsim.gradients.dense.exact.comparison import compare_gradients as compare_gradients
from evsim.gradients.dense.exact.comparison import fitted_orders as fitted_orders
from evsim.gradients.dense.exact.reference import reference_layers as reference_layers
from evsim.gradients.dense.exact.reference import reference_run as reference_run
