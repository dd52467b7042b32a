"""Adopting what other tools made: a folder of theirs -> a dataset, the folder left as it is.

folder.py     which kind of folder it is, and the dataset made of it
sources.py    clip-retrieval's vectors (.npy, faiss) and metadata (parquet, arrow, hdf5), in order
shards.py     rows and vectors -> shards without pictures; img2dataset's shards, linked
"""

from frenchcat.curate.adopt.folder import Adopted, adopt

__all__ = ["Adopted", "adopt"]
