# poly10warm without the warm-up (DAFormer, Table 4). The original's floor of 1e-4 exceeds the
# base rate of the encoder, which then rises; the floor here is 0.
param_scheduler = [
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=40001),
]
train_cfg = dict(type="TrainLoop", max_iters=40000, val_interval=4000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
