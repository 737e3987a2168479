# DAFormer's final self-training (Hoyer et al., CVPR 2022); also the host of HRDA and MIC.
_base_ = ["./dacs_fdthings.py"]
uda = dict(alpha=0.999)
