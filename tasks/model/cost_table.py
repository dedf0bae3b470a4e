"""An estimate as lines for a terminal."""

from math import floor, log10

from tasks.model.cost import SLACK, TEXT, Estimate, half_of

UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))


def lines(told: Estimate) -> list[str]:
    """Return the estimate as lines for a terminal: two digits of what is estimated, all of what is counted; warnings last."""
    training, config = told.training, told.config
    rows = [
        ("store", f"recordings {_bytes(told.recording_bytes)}, FLAC {_bytes(told.flac_bytes)}, features {_bytes(told.feature_bytes)}"),
        ("prepare", f"{_time(told.prepare_seconds)} of one core, without the download"),
        ("training", f"{training.steps:,} steps of {training.batch} x {training.accumulate} clips, {training.warmup:,} of them warm-up"),
        ("", f"{told.n_seen:,} clips, {_two(told.epochs)} epochs"),
        ("looks", f"{told.n_looks:,}{' at most' if training.patience else ''}, each at {told.n_dev:,} dev clips"),
    ]  # fmt: skip
    if config:
        about = f"{_two(told.n_parameters / 1e6)} million weights, {_two(told.n_trained / 1e6)} million of them trained"
        rows = [("model", f"{config.source}: {about}"), *rows, *_rows_of_model(told)]
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {text}" for name, text in rows] + [f"{'warning':{width}}  {each}" for each in told.warnings]


def _rows_of_model(told: Estimate) -> list[tuple[str, str]]:
    training, on = told.training, told.device
    train, looks = told.n_seen * told.clip_flops, told.n_looks * told.n_dev * told.look_flops
    fits = f"; {on.name} has {_bytes(on.memory)}, largest batch {told.largest_batch:,}" if on.memory else ""
    half, says = half_of(on, training.precision), "assumed" if on.assumed else "rough"
    rate, share = (half, on.half_share) if half else (on.fp32, on.fp32_share)
    again = f", and {told.again_flops / told.clip_flops:.0%} of it again for gradient checkpointing" if told.again_flops else ""
    return [
        ("checkpoints", f"{_bytes(told.checkpoint_bytes)} each, at most {training.checkpoints.newest + 1} on the store"),
        ("work", f"training {_two(told.clip_flops / 1e9)} GFLOP a clip, {_two(train / 1e15)} PFLOP in all"),
        ("", f"looks {_two(told.look_flops / 1e9)} GFLOP a clip, {_two(looks / 1e15)} PFLOP in all"),
        ("memory", f"{_bytes(told.memory_bytes)}{fits}"),
        ("", f"weights, gradients, moments {_bytes(told.static_bytes)}; {_bytes(told.clip_bytes)} a clip; rest {_bytes(SLACK)} (assumed)"),
        (f"time on {on.name}", f"{_time(told.seconds)}, of which evaluation {told.evaluation_share:.0%}"),
        ("", f"training {_time(told.train_seconds)}, looks {_time(told.looks_seconds)}, the test split twice {_time(told.test_seconds)}"),
        *([("price", f"{_two(told.price)} for that time")] if told.price is not None else []),
        (says, f"training and looks at {share:.0%} of {_two(rate / 1e12)} TFLOP/s ({told.kind}){again}"),
        ("", f"test scores at {on.fp32_share:.0%} of {_two(on.fp32 / 1e12)} TFLOP/s (float32)"),
        ("", f"saying a token at {on.bandwidth_share:.0%} of {_two(on.bandwidth / 1e9)} GB/s, {on.layer_seconds * 1e3:g} ms a layer"),
        ("assumed", f"{_two(TEXT)} bytes of text a token, so {_two(told.label_tokens)} tokens a label"),
    ]  # fmt: skip


def _two(value: float) -> str:
    """Two digits that count: 1,200; 43; 0.56."""
    if not value:
        return "0"
    n_digits = 1 - floor(log10(abs(value)))
    return f"{round(value, n_digits):,.{max(0, n_digits)}f}"


def _bytes(value: float | None) -> str:
    if value is None:
        return "not known"
    unit = next((each for each in UNITS if value >= 995e-3 * each[0]), UNITS[-1])
    return f"{_two(value / unit[0])} {unit[1]}"


def _time(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= (3 if unit == "days" else 1.5) * size:
            return f"{_two(seconds / size)} {unit}"
    return f"{_two(seconds)} s"
