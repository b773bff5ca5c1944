"""Judge the very ONNX file that Triton will load, on crops it has never seen, and write a report to read.

Reads:    a model bundle (`silhouette.contracts.model_bundle`), crops (`silhouette.contracts.crops`).
Writes:   `metrics.json` (`silhouette.contracts.evaluation`), `report.html`, `roc.json` (for the KFP UI).
Talks to: nobody.

    evaluate   the work: `evaluate_model`
    scores     answers turned into numbers: F1, intervals, baselines, curves
    charts     curves and histograms as SVG
    report     the HTML page, from report.html.j2
"""
