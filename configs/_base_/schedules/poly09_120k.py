# 120 000 iterations: lr(t) = base (1 - t / 120000)^0.9, without a warm-up.
# mmengine's schedulers reach their end at end - 1.
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=120001),
]
train_cfg = dict(type="TrainLoop", max_iters=120000, val_interval=12000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
