# 60 000 iterations: lr(t) = base (1 - t / 60000)^0.9, without a warm-up.
# mmengine's schedulers reach their end at end - 1.
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=60001),
]
train_cfg = dict(type="TrainLoop", max_iters=60000, val_interval=6000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
