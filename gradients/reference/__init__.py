"""The differentiable reference, and how far the event layers are from it."""

from .comparison import compare_gradients as compare_gradients
from .comparison import fitted_orders as fitted_orders
from .stepping import reference_layers as reference_layers
from .stepping import reference_run as reference_run
