# Training on the labelled domain alone, in the self-training host (for supervised MIC).
_base_ = ["./dacs.py"]
uda = dict(source_only=True)
