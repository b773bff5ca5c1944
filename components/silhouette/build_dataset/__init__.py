"""Cut person-centred crops with masks out of the pictures, in splits that share no picture and no shoot.

Reads:    `dataset` (`silhouette.contracts.dataset`), a snapshot of contours, a frozen background set
          (`silhouette.contracts.backgrounds`) and the pictures in the store.
Writes:   a folder of crops (`silhouette.contracts.crops`).
Talks to: the store.

    build        the work: `build_dataset`
    selection    which pictures and people are used, and why the others are not
    splits       train, val and test: the source's own, or grouped, stratified and seeded
    backgrounds  views of places to put behind people, none of them shared with val or test
    encoding     pictures opened, crops as bytes
"""
