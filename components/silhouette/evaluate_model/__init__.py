"""Judge the very ONNX file that Triton will load, on crops it has never seen, and write a report to read.

Reads:    a model bundle (`silhouette.contracts.model_bundle`), crops (`silhouette.contracts.crops`); the served model,
          whose version and digest are a parameter, from the model repository.
Writes:   `metrics.json` (`silhouette.contracts.evaluation`), `report.html`, `roc.json` (for the KFP UI).
Talks to: the store, only to read the served model.

    evaluate      the work: `evaluate_model`
    scores        answers turned into numbers: F1, accuracies, baselines, curves
    per_class     the same class by class
    resampling    intervals: the grouped, paired bootstrap
    calibration   ECE and its kin, before and after the temperature
    reliance      the test crops with other backgrounds, without them, without people
    slices        accuracy by size, shape, score and shoot
    augmented     what the mean answer to several views would be worth
    champion      the served model on the same crops
    gate          the rules and their verdict
    report        the HTML page, from report.html.j2; its charts as SVG, its pictures inside
"""
