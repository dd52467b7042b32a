"""Adopting what other tools and people made: a folder -> a dataset, the folder left as it is.

folder.py           which kind of folder it is, and the dataset made of it
source_shards.py    shards of img2dataset in its four layouts
img2dataset.py      the dataset's shards out of them, linked where they are as ours
tfrecord.py         TFRecord files, read without tensorflow
images.py           a plain folder of images
image_tree.py       its files by what they are
image_texts.py      each image's text: beside it, in metadata, in COCO captions
kept.py             an image file -> what a tar holds of it
clip_retrieval.py   vectors with metadata -> shards without images
sources.py          clip-retrieval's vectors (.npy, faiss) and metadata (parquet, arrow, hdf5)
texts.py schema.py  columns of any type as text; one schema for files whose columns differ
shards.py           what is published
left_out.py         what is not taken, counted and named
"""

from frenchcat.curate.adopt.folder import Adopted, adopt, has_vectors
from frenchcat.curate.adopt.texts import ColumnNames

__all__ = ["Adopted", "ColumnNames", "adopt", "has_vectors"]
