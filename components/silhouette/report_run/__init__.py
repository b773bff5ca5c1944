"""Say how a run ended, whatever happened to it: the last step of every pipeline.

Reads what KFP says of the run; writes ``runs/<pipeline>/<time>-<run>.json`` in the store and one line of the log.
Talks to the store. It is no second failure: where the store is away, the line says so, and the run's own end stands.
"""
