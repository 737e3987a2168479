# 40 000 iterations: lr(t) = base (1 - t / 40000)^0.9, without a warm-up.
# mmengine's schedulers reach their end at end - 1.
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=40001),
]
train_cfg = dict(type="TrainLoop", max_iters=40000, val_interval=4000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
