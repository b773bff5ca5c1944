"""A run on a cluster: what is checked before it, how it is sent, followed, asked about and ended.

    settings.py      where KFP, the registry and the run's namespace are, from the environment
    access.py        the ways to KFP: a kubeconfig alone, a URL with or without a token, a pod's own account
    kfp_calls.py     one call of KFP's generated client: timeouts, what is tried again, errors as one line
    kfp_api.py       the only door to the KFP API (v2beta1): what there is, what is made once
    checkout.py      a run is made of what is committed
    registry.py      the images of a run are in the registry
    preflight.py     the secrets, ConfigMaps, GPU nodes and the group of a run are there
    inputs.py        files and folders of this machine go to the store under their SHA-256
    runs.py          how runs, experiments and versions are called
    follow.py        what a run's steps do, live
    logs.py          what a run's steps printed
    estimate.py      what a run would cost, from earlier runs
    __main__.py      `make runs`, `follow`, `logs`, `cancel`; submitting is pipelines/submit.py

Nothing here runs in an image.
"""
