# Plain supervised training: source-only and target-only rows.
uda = dict(type="Supervised")
