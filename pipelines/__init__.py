"""Wiring only: which steps make a pipeline, how one is compiled, run on a laptop or submitted to a cluster.

training.py   the pipeline, one page
compile.py    writes compiled/*.yaml, which are committed
lint_ir.py    finds in a compiled pipeline what a cluster would only find at run time
local.py      runs a compiled pipeline here, on the embedded services
embedded/     PostgreSQL, an S3 server, Triton and a picture service in miniature
"""
