# The optimizers of output-space adaptation (AdaptSegNet, ADVENT) in HRDA's and MIC's code: SGD for
# the segmentor, whose decoder is no faster, and Adam for discriminators.
sgd = dict(
    type="StepOptimWrapper",
    constructor="ReferenceNameConstructor",
    optimizer=dict(type="SGD", lr=2.5e-3, momentum=0.9, weight_decay=5e-4),
)
sgd_and_adam = dict(
    sgd,
    constructor="AdversarialConstructor",
    discriminator=dict(type="Adam", lr=1e-4, betas=(0.9, 0.99)),
)
# lr(t) = 1e-4 (1 - t / 40000)^0.9; mmengine reaches an end one step earlier.
discriminator_schedule = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=40001)
]
