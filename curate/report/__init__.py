"""The report: what is in a dataset, what was dropped, and whom that affected.

outcomes.py    what became of every row, as a view; all that gathers asks it
gather.py      counts, domains and clusters of duplicates; histograms.py; examples.py picks images
terms.py       word lists and their counts; audit.py tests each filter's effect on each term
report.py      gathers everything; page.py draws it: sections, plots, thumbnails
"""

from frenchcat.curate.report.settings import ReportSettings

__all__ = ["ReportSettings"]
