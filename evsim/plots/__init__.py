"""Pictures of spikes, networks, results and trainings (``evsim[plot]``).

`raster`, `voltage`, `delays`, `weights` and `accuracy` draw into axes that you give them, and
return them; ``plot_...`` return a whole matplotlib ``Figure`` that belongs to nobody: no pyplot,
no global state, no window; `save_page` writes a page to zoom in (``evsim[html]``), `save_animation`
a GIF of spikes on their way. Colours are those of Okabe and Ito (2008), which stay apart for
colour-blind readers. matplotlib and bokeh are imported when something is drawn, not before.
"""

from evsim.plots.animation import save_animation
from evsim.plots.epochs import accuracy
from evsim.plots.figures import plot_file, plot_network, plot_result, plot_spikes
from evsim.plots.histograms import delays, weights
from evsim.plots.page import save_page
from evsim.plots.rasters import raster
from evsim.plots.style import save_figure
from evsim.plots.voltages import voltage
from evsim.rooms import listing

__all__ = [
    "accuracy",
    "delays",
    "plot_file",
    "plot_network",
    "plot_result",
    "plot_spikes",
    "raster",
    "save_animation",
    "save_figure",
    "save_page",
    "voltage",
    "weights",
]
__dir__ = listing(__all__)
