"""Wiring only: which steps make a pipeline, how one is compiled, run on a laptop or submitted to a cluster.

training.py segmentation.py inference.py   the pipelines, one page each
compile.py    writes compiled/*.yaml, which are committed
lint_ir/      finds in a compiled pipeline what a cluster would only find at run time
local.py      runs a compiled pipeline here, on the embedded services
submit.py     runs it on a cluster; cluster/ is what that takes
embedded/     PostgreSQL, an S3 server, Triton and a picture service in miniature
"""
