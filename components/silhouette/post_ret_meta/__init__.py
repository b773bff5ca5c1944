"""Send the documents back to the picture service: each content once, whatever is killed, lost or said twice.

Reads      the groups' datasets and ``ret_meta/<picture key>.json`` (`contracts.ret_meta`) in the store; the badlist
Writes     PostgreSQL, the ledger `database.posts`: a row before a document is sent, the service's receipt after
Talks to   the store, PostgreSQL, the picture service

    post        the work: `post_ret_meta`
    ledger      what is on its way and what became of it, many rows in a statement
    deliver     one document: sent, asked for, sent again
    difference  what would change at the service, in words
"""
