# SGD of the baselines of domain generalization: one rate for the whole network.
optim_wrapper = dict(
    type="StepOptimWrapper",
    constructor="ReferenceNameConstructor",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4),
)
