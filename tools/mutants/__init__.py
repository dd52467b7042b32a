"""Break each documented promise on purpose and see that a test fails: `python -m tools.mutants`.

``promises/*.toml`` holds the semantic mutants as data: the function, what is replaced in it and the
promise that this breaks. `mutant.py` applies one, `reach.py` finds the tests that run a function,
`run.py` tries them and keeps the results, `generic.py` runs mutmut's own operators.
"""
