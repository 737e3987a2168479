# AdvSeg: adversarial training on the output space (Tsai et al., CVPR 2018, arXiv 1802.10349), with
# the squared distance of later works. Values of HRDA's code.
advseg = dict(
    type="AdversarialTraining",
    gan="LS",
    loss_weight=0.001,
    auxiliary_loss_weight=0.0002,
)
