"""The service: one process that answers the page, our API and clip-retrieval's clients.

app.py        the whole, put together; `serve` runs it
settings.py   its settings
dataset_registry.py  the datasets that it holds open; a new index version is swapped in
served_source.py  where a dataset is served from: served_dataset.py, a folder, its searcher and what
              is looked up beside it; served_publication.py, a database
search.py     a query -> the nearest rows, filtered, exactly k where k exist
queries.py    texts, images, addresses, vectors and sums of them -> one unit vector
batching.py   the model in a thread of its own; texts of many users encoded in one batch
conditions.py users' conditions, within a budget; condition_process.py: the process they run in
pixels.py     how much is decoded at a time
work.py       threads for everything that takes longer than an event loop should wait
api.py        /v1: datasets, search, columns, rows
browse.py     /v1: rows without a query, and the map
media.py      /v1: images and thumbnails, from the tars by offset
selections.py /v1: selections; removals.py: removals
drawing.py    /v1: images that a trained model draws, in a thread of its own
compat.py     clip-retrieval's routes
operations.py health, metrics, the page's configuration
page.py       the page's files
guard.py      in front of every route: keys.py (who may ask), rates.py (how often), uploads.py (how
              much), answer_guard.py (what goes out)
origins.py    which site a browser's request comes from
connections.py   bounds below a request: half-sent headers, how many connections
remote.py     images at an address, fetched safely
content_policy.py    aesthetic ratings, violence prompts, safety heads
metrics.py    Prometheus histograms, by clip-retrieval's names and ours
problems.py   every mistake -> a status and one line of JSON
models/       what goes in and out of /v1, a module per concept

Importing this package loads no model and no faiss.
"""
