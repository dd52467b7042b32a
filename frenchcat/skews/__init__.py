"""The audit of queries: what search results and drawings show, beside what the dataset has.

rows.py       the dataset's side: every row that a search may show, with its attributes
concepts.py   what a user's prompts tell images apart by, and how often they err
shares.py     shares with intervals and tests: pure functions of counts
rankings.py   how far two rankings agree: overlap and rank-biased overlap
raking.py     weights that move shares to targets, within bounds
rebalance.py  from an audit to a selection with such weights
request.py    what an audit is asked; report.py: what it found, as data
concept_bases.py  the concepts' vectors and base rates
query_shares.py, concentrations.py, translations.py    what is measured of each query
audit.py      one call that measures all of it
page.py       the report, one HTML page
"""
