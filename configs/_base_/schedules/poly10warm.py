# 40 000 iterations; the warm-up multiplies the decayed rate: peak 0.9625 × base.
# DAFormer, HRDA, MIC: lr(t) = base (1 - t / 40000) · min(1, 1e-6 + (1 - 1e-6) t / 1500).
# mmengine's schedulers reach their end at end - 1, hence 1501 and 40001.
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1501),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=40001),
]
train_cfg = dict(type="TrainLoop", max_iters=40000, val_interval=4000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
