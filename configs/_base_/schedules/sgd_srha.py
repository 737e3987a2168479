# SGD of SRHA: the decoder's rate is 0.01, the encoder's half of it; weight decay on everything.
optim_wrapper = dict(
    type="StepOptimWrapper",
    constructor="ReferenceNameConstructor",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.5)}),
)
