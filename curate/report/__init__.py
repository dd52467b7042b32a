"""The report: what is in a dataset, what was dropped, and whom that affected.

report.py      gathers everything, writes the page
outcomes.py    what became of every row, as a view; gather, histograms, sites, clusters and
               examples ask it
terms.py       word lists; counts.py counts them, filters.py says beside what each filter is
               judged, audit.py tests its effect
page.py        the page: sections, plots, thumbnails, style.css
"""

from frenchcat.curate.report.settings import ReportSettings

__all__ = ["ReportSettings"]
