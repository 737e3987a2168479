# 600 steps on one CPU core, from ImageNet weights; in place of the default recipe's.
# A worker would take the core from the training beside it.
in_process = dict(num_workers=0, persistent_workers=False)
batch_of_4 = dict(in_process, batch_size=4)
adamw_short = dict(optimizer=dict(lr=1e-4))
# lr(t) = base (1 - t / 600) min(1, t / 60); mmengine's schedulers reach their end at end - 1.
warmup_600 = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=61),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=601),
]
loop_600 = dict(max_iters=600, val_interval=300)
often = dict(checkpoint=dict(interval=100), logger=dict(interval=20), job_files=dict(interval=10))
