custom_imports = dict(imports=["mmseg_uda.register_all"], allow_failed_imports=False)
default_scope = "mmseg"
runner_type = "AdaptationRunner"
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    # Seconds that processes wait for each other: the first one counts classes or builds banks.
    dist_cfg=dict(backend="nccl", timeout=7200),
)
randomness = dict(seed=0)
vis_backends = [dict(type="LocalVisBackend")]
# Without a name of its own: one name is one visualizer for all runs of a process.
visualizer = dict(type="SegLocalVisualizer", vis_backends=vis_backends)
log_processor = dict(by_epoch=False, window_size=1)
log_level = "INFO"
load_from = None
resume = False
default_hooks = dict(
    runtime_info=dict(type="DeferredScalarsHook"),
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    # One checkpoint in reserve: if the newest is damaged, the run resumes from the other.
    checkpoint=dict(type="SafeCheckpointHook", interval=2000, max_keep_ckpts=2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="PredictionPicturesHook", interval=0),
    examples=dict(type="ExamplePicturesHook", count=4),
    debug_panels=dict(type="DebugPanelsHook", interval=0),
    job_files=dict(type="JobFilesHook", interval=50),
    plain_checkpoint=dict(type="PlainCheckpointHook"),
)
