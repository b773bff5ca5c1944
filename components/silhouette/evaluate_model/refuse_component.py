"""What KFP sees where the gate refused a model: the run fails with the rule and the values; nothing is deployed."""

from silhouette.containers import cpu_step


@cpu_step
def refuse_model(group: str, refusal: str):
    """End the run: the model did not pass its gate, and what is deployed goes on serving."""
    from silhouette.step import step

    with step():
        from silhouette.errors import GateRefusedError

        raise GateRefusedError(
            f"the gate refused the model of {group!r}: {refusal}; nothing was deployed, read the report, then train"
            " longer, look at the labels, or change that rule in the section `gate` of the configuration"
        )
