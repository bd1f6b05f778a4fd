"""Few bits: weights and delays that are trained as floats and used on a few levels.

Parametrisations for ``torch.nn.utils.parametrize.register_parametrization`` of any layer's
``weight``, ``recurrent_weight``, ``delay`` or ``recurrent_delay``. The layer sees, and exports,
the quantised tensor; the free one is ``layer.parametrizations.<name>.original``, and assigning
to the attribute sets it. Gradients by the quantised tensor stay exact; they go to the free one
as if the rounding were not there (straight through). `size` counts the bits of a model.

Register them after `evsim.gradients.fit_weights`, which changes weights in place and does not
reach a free tensor. A parametrisation sees the whole tensor, entries behind a mask, too.
"""

from .delay_grid import DelayGrid as DelayGrid
from .model import quantise as quantise
from .sizes import Size as Size
from .sizes import delay_bit_fraction as delay_bit_fraction
from .sizes import size as size
from .weights import Ternary as Ternary
from .weights import Uniform as Uniform
from .weights import dorefa as dorefa
