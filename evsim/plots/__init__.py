"""Pictures of spikes, networks, results and trainings (``evsim[plot]``).

`raster`, `voltage`, `delays`, `weights` and `accuracy` draw into axes that you give them, and
return them; ``plot_...`` return a whole matplotlib ``Figure`` that belongs to nobody: no pyplot,
no global state, no window. Colours are those of Okabe and Ito (2008), which stay apart for
colour-blind readers. matplotlib is imported when a picture is drawn, not before.
"""

from evsim.plots.choice import check_recording as check_recording
from evsim.plots.epochs import accuracy as accuracy
from evsim.plots.figures import plot_file as plot_file
from evsim.plots.figures import plot_network as plot_network
from evsim.plots.figures import plot_result as plot_result
from evsim.plots.figures import plot_spikes as plot_spikes
from evsim.plots.histograms import delays as delays
from evsim.plots.histograms import weights as weights
from evsim.plots.rasters import raster as raster
from evsim.plots.style import BLUE as BLUE
from evsim.plots.style import DARK as DARK
from evsim.plots.style import GREY as GREY
from evsim.plots.style import VERMILION as VERMILION
from evsim.plots.style import class_name as class_name
from evsim.plots.style import new_figure as new_figure
from evsim.plots.style import save_figure as save_figure
from evsim.plots.style import styled as styled
from evsim.plots.voltages import voltage as voltage
