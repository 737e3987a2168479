# MinEnt: direct entropy minimization (Vu et al., CVPR 2019, arXiv 1811.12833). Values of HRDA's
# code.
minent = dict(type="EntropyMinimization", loss_weight=0.001, auxiliary_loss_weight=0.0002)
