"""Sample datasets: rows that a test chooses, written to the files that the stages would write.

`row` is what can be said of a row, `write` puts rows into a dataset, `embedded` makes rows of
vectors alone, `columns` changes what is there; `stages` are stages without a network or a model;
`pictures`, `vectors` and `tars` make what rows hold.
"""
