"""Serve the page on which markers review a group's contours.

Reads: the group's labels, pictures, contours, reviews and badlist in PostgreSQL; picture bytes in the store.
Writes: verdicts into PostgreSQL, each with its row in the audit; how doubtful a segmentation is, where that is missing.
Talks to: PostgreSQL (the role `silhouette_review` is enough), the store, browsers.

serve        listens, says where, ends cleanly
guard        who may ask: token or trusted proxy, host, same site; the headers of every answer
app          the addresses of the page and its JSON
asking       what a request may say
desk         what a reviewer sees and does
drawing      contours as SVG paths
pictures     pictures and thumbnails out of the store
preparation  fills in doubts in the background
connections  a few connections to PostgreSQL for many requests
page/        HTML, style and script: the whole of what a browser loads
"""
